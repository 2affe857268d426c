"""One onnxruntime session over the exported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_core.errors import ArtifactError, ConfigError
from model_core.serving.inputs import SCORES

#: Tried in this order; a provider that is not installed is passed over.
PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class ScoringSession:
    """Runs the exported model.

    Args:
        model: The ``model.onnx`` file.
        num_threads: Threads inside an operator; None: one per core.
        providers: Execution providers; None: CUDA where this onnxruntime has it, else CPU.

    Raises:
        ArtifactError: The file cannot be loaded.
        ConfigError: A named provider is not installed.
    """

    def __init__(
        self, model: Path, *, num_threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        installed = onnxruntime.get_available_providers()
        chosen = [name for name in providers or PREFERRED_PROVIDERS if name in installed]
        if missing := sorted(set(providers or ()) - set(installed)):
            raise ConfigError("execution providers", f"some of {installed}", str(missing),
                              "install the onnxruntime build that has it, or leave it unset")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.use_deterministic_compute = True
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=chosen)
        except Exception as error:  # onnxruntime's own tree of exceptions is not importable
            raise ArtifactError(str(model), "an ONNX model that onnxruntime loads", str(error),
                                "export the model again, or update onnxruntime") from error
        #: Inputs that the model reads; the exporter drops those it does not need.
        self.input_names = tuple(entry.name for entry in self._session.get_inputs())

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self._session.get_providers())

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Scores, float32 [B, num_items]; inputs that the model does not read are ignored."""
        feed = {name: np.ascontiguousarray(inputs[name]) for name in self.input_names}
        return self._session.run([SCORES], feed)[0]
