"""Resume states: everything a killed run needs to go on as if nothing had happened.

All randomness derives from step numbers, so weights, optimiser moments and counters are
the whole state. A state is a record in ``state_dir``, written under another name and
renamed; the two newest are kept. The best weights so far lie beside it once per epoch
that improved, and a state names the one it belongs to.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model_core.errors import ArtifactError
from model_core.records import json_bytes, open_record, write_record
from model_core.training.averaging import WeightAverage
from model_core.training.mirror import NUM_KEPT, StateMirror
from model_core.training.optimizer import SplitAdam

STATE_KIND, STATE_VERSION = "train_state", 1
#: Seconds; writing that takes longer is rationed.
LONG_SAVE_S = 1.0
BEST_KIND, BEST_VERSION = "best_weights", 1


@dataclass
class Counters:
    """The numbers of a state.

    Attributes:
        step: Steps done.
        epoch_loss: Sum over the epoch's steps of (loss of the step · its rows).
        epoch_rows: Rows seen in the epoch.
        epoch_wall_s: Seconds spent on the epoch's steps.
        best_value: Best validation metric; None before the first one.
        best_step: Steps done when it was reached; names the best weights.
        epochs_without_gain: Since then.
        finished: No step is left to do.
        curves: One entry per finished epoch.
    """

    step: int = 0
    epoch_loss: float = 0.0
    epoch_rows: int = 0
    epoch_wall_s: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    epochs_without_gain: int = 0
    finished: bool = False
    curves: list[dict[str, Any]] = field(default_factory=list)


class StateStore:
    """Reads and writes the states of one run.

    Args:
        folder: ``state_dir``; None keeps nothing on disk but the best weights in memory.
        guard: Digest of all that a run depends on; states with another one are ignored.
        mirror: Where copies of the states are kept beside ``folder``.
    """

    def __init__(self, folder: Path | None, guard: str, mirror: StateMirror | None = None) -> None:
        self.folder, self.guard, self.mirror = folder, guard, mirror
        self._best: dict[str, Tensor] | None = None
        self._saved_at, self._save_s = 0.0, 0.0

    @property
    def is_due(self) -> bool:
        """Whether a state may be written between epochs' ends.

        The state of a 10-million-item table is 8 GB. Where writing takes longer than a
        second, it gets at most a tenth of the time; which steps have a state changes no
        result.
        """
        return self._save_s < LONG_SAVE_S or time.perf_counter() - self._saved_at > 9 * self._save_s

    def save(
        self, counters: Counters, model: nn.Module, optimizer: SplitAdam, average: WeightAverage
    ) -> None:
        """Write a state and remove those that are not needed any more."""
        if self.folder is None:
            return
        began = time.perf_counter()
        target = self.folder / f"step-{counters.step:09}"
        with write_record(target, STATE_KIND, STATE_VERSION) as (out, meta):
            save_file(_tensors(model, optimizer, average), out / "tensors.safetensors")
            (out / "counters.json").write_bytes(json_bytes(asdict(counters)))
            meta.update(guard=self.guard)
        if self.mirror is not None:
            best = counters.best_step
            self.mirror.push(target, None if best is None else self.folder / f"best-{best:09}")
        for old in self._states()[:-NUM_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        self._remove_unnamed_best()
        self._saved_at = time.perf_counter()
        self._save_s = self._saved_at - began

    def restore(self, model: nn.Module, optimizer: SplitAdam, average: WeightAverage) -> Counters:
        """Load the newest usable state; fresh counters where there is none.

        A damaged state is skipped with a warning, one of another run silently.
        """
        if self.mirror is not None and self.folder is not None:
            self.mirror.fetch(self.folder)
        for path in reversed(self._states()):
            try:
                record = open_record(path, STATE_KIND, STATE_VERSION, verify="digest")
                if record.meta["guard"] != self.guard:
                    continue
                counters = Counters(**json.loads(record.file("counters.json").read_bytes()))
                if counters.best_step is not None:
                    self._open_best(counters.best_step)
                tensors = load_file(record.file("tensors.safetensors"))
            except ArtifactError as error:
                warnings.warn(f"training state skipped: {error}", stacklevel=2)
                continue
            _load_tensors(tensors, model, optimizer, average)
            return counters
        return Counters()

    def settle(self) -> str:
        """Wait for copies on their way; says where the newest state is."""
        if self.folder is None:
            return "nothing was kept"
        if self.mirror is None:
            return f"the state is in {self.folder}"
        if self.mirror.flush():
            return f"the state is in {self.mirror.uri}"
        return f"the newest state was still on its way to {self.mirror.uri}; an older one serves"

    def save_best(self, step: int, model: nn.Module) -> None:
        """Keep the present weights as the best; a state that names them must follow."""
        weights = weights_of(model)
        if self.folder is None:
            self._best = {name: tensor.clone() for name, tensor in weights.items()}
            return
        with write_record(self.folder / f"best-{step:09}", BEST_KIND, BEST_VERSION) as (out, meta):
            save_file(weights, out / "weights.safetensors")
            meta.update(guard=self.guard)

    def load_best(self, step: int) -> Mapping[str, Tensor]:
        """The weights kept at ``save_best(step)``."""
        if self.folder is None:
            assert self._best is not None
            return self._best
        return load_file(self._open_best(step).file("weights.safetensors"))

    def _open_best(self, step: int):
        assert self.folder is not None
        record = open_record(
            self.folder / f"best-{step:09}", BEST_KIND, BEST_VERSION, verify="digest")
        if record.meta["guard"] != self.guard:
            raise ArtifactError(str(record.path), "best weights of this run", "another run's",
                                "delete the state directory")
        return record

    def _states(self) -> list[Path]:
        """Oldest first."""
        if self.folder is None or not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def _remove_unnamed_best(self) -> None:
        assert self.folder is not None
        named = set()
        for state in self._states():
            try:
                named.add(json.loads((state / "counters.json").read_bytes())["best_step"])
            except (OSError, ValueError, KeyError):
                continue
        for path in self.folder.glob("best-*"):
            if int(path.name.removeprefix("best-")) not in named:
                shutil.rmtree(path, ignore_errors=True)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Contiguous CPU tensors of the state dict, fit for safetensors."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def _tensors(model: nn.Module, optimizer: SplitAdam, average: WeightAverage) -> dict[str, Tensor]:
    tensors = {f"weight/{name}": tensor for name, tensor in weights_of(model).items()}
    for name, parameter in model.named_parameters():
        for part, value in optimizer.state_of(parameter).items():
            tensors[f"optimizer/{part}/{name}"] = value.detach().cpu().contiguous()
    for name, value in average.tensors().items():
        tensors[f"average/{name}"] = value.cpu().contiguous()
    return tensors


def _load_tensors(
    tensors: Mapping[str, Tensor], model: nn.Module, optimizer: SplitAdam, average: WeightAverage
) -> None:
    prefix = "weight/"
    model.load_state_dict({
        name.removeprefix(prefix): tensor for name, tensor in tensors.items()
        if name.startswith(prefix)
    })
    parameters = dict(model.named_parameters())
    states: dict[nn.Parameter, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer/"):
            _, part, name = key.split("/", 2)
            states.setdefault(parameters[name], {})[part] = tensor
    optimizer.load(states)
    average.load({name.removeprefix("average/"): tensor for name, tensor in tensors.items()
                  if name.startswith("average/")})
