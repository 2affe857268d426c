"""The inside of a step: executor input in, one typed call, executor output out.

A step is a function whose parameters are annotated ``Input`` (a directory or file to
read), ``Output`` (one to write) or ``str``/``int``/``float``/``bool``. ``run_step``
calls it in one of two ways:

- by Kubeflow, with ``--executor-input JSON`` as the last argument, and then writes
  ``executor_output.json`` so that metadata and metrics reach lineage and UI;
- by a person, with one flag per parameter: ``python -m components.train --graph DIR …``,
  in an image ``train --graph DIR …``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NewType, get_type_hints

from model_core.allocator import keep_freed_memory
from model_core.errors import RelrecError, StepError, Stopped
from model_core.records import json_bytes, write_atomically
from model_core.version import __version__

#: An artifact to read: a local path to a record directory or a file.
Input = NewType("Input", Path)
#: An artifact to write; its parent directory exists.
Output = NewType("Output", Path)

#: What a step returns: per output artifact, metadata for lineage and UI.
Metadata = Mapping[str, Mapping[str, Any]]

EXIT_USER_ERROR, EXIT_BUG = 2, 1
#: Of a step that SIGTERM ended: as the shell has it, and a failure, so that Kubeflow tries again.
EXIT_STOPPED = 128 + signal.SIGTERM

# Where Kubeflow's launcher mounts object stores inside a container.
_MOUNTS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


def local_path(uri: str) -> Path:
    """Where an artifact's URI is found inside the container.

    Example:
        >>> local_path("gs://bucket/run/split")
        PosixPath('/gcs/bucket/run/split')
    """
    for scheme, mount in _MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount + uri.removeprefix(scheme))
    return Path(uri.removeprefix("file://"))


def run_step(function: Callable[..., Metadata | None], argv: Sequence[str] | None = None) -> int:
    """Run a step from the command line.

    Args:
        function: The step.
        argv: Arguments, default ``sys.argv[1:]``.

    Returns:
        Exit code: 0 on success, 2 for a fault the user can fix, 1 for a bug, 143 where SIGTERM
        ended it.
    """
    keep_freed_memory()
    argv = list(sys.argv[1:] if argv is None else argv)
    call: Callable[[], object]
    if argv[:1] == ["--executor-input"] and len(argv) == 2:
        executor_input = json.loads(argv[1])
        output_file = local_path(executor_input["outputs"]["outputFile"])
        error_file = output_file.with_name("error.json")
        call = lambda: _run_for_kubeflow(function, executor_input)
    else:
        arguments = _parser(function).parse_args(argv)
        error_file = None
        call = lambda: _call(function, vars(arguments))
    print(f"{_command_name(function)}, relrec {__version__}", flush=True)
    try:
        with _terminable():
            call()
    except Stopped as error:
        print(f"{error}; the same command goes on there", file=sys.stderr, flush=True)
        _note_error(error_file, error)
        return EXIT_STOPPED
    except RelrecError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        _note_error(error_file, error)
        return EXIT_USER_ERROR
    except Exception as error:
        traceback.print_exc()
        _note_error(error_file, error)
        return EXIT_BUG
    if error_file is not None:
        _note_usage(error_file.with_name("usage.json"))
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises ``Stopped``: what is half-written is removed on the way out.

    As the first process of a container a step would otherwise ignore it.
    """
    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the tidying up
        raise Stopped("stopped by SIGTERM")

    with _handling(stop):
        yield


@contextmanager
def termination_deferred() -> Iterator[Callable[[], bool]]:
    """For a step that can end in good order: SIGTERM only makes the yielded function true."""
    asked = threading.Event()
    with _handling(lambda *_: asked.set()):
        yield asked.is_set


@contextmanager
def _handling(handler: Callable[..., None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _note_usage(path: Path) -> None:
    # A container is gone when it has ended, and its peak memory with it.
    peak = max(resource.getrusage(who).ru_maxrss
               for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    write_atomically(path, json_bytes({"peak_bytes": peak * (1 if sys.platform == "darwin" else 1_024)}))


def _note_error(path: Path | None, error: Exception) -> None:
    # Exit codes never reach Kubeflow's own message, so the cause is left beside the outputs.
    if path is not None:
        write_atomically(path, json_bytes({
            "type": type(error).__name__, "message": str(error),
            "user_fault": isinstance(error, (RelrecError, Stopped)),
        }))


def _run_for_kubeflow(function: Callable[..., Metadata | None], executor_input: Mapping) -> None:
    inputs, outputs = executor_input.get("inputs", {}), executor_input["outputs"]
    arguments: dict[str, Any] = {}
    hints = get_type_hints(function)
    for name, value in inputs.get("parameterValues", {}).items():
        arguments[name] = _cast(hints.get(name, str), value)
    for name, value in inputs.get("artifacts", {}).items():
        arguments[name] = local_path(value["artifacts"][0]["uri"])
    artifacts = {name: value["artifacts"][0] for name, value in outputs.get("artifacts", {}).items()}
    for name, artifact in artifacts.items():
        arguments[name] = local_path(artifact["uri"])
    metadata = _call(function, arguments)
    executor_output = {
        "artifacts": {
            name: {"artifacts": [artifact | {"metadata": dict(metadata.get(name, {}))}]}
            for name, artifact in artifacts.items()
        }
    }
    write_atomically(local_path(outputs["outputFile"]), json_bytes(executor_output))


def _call(function: Callable[..., Metadata | None], arguments: Mapping[str, Any]) -> Metadata:
    outputs = {name: Path(arguments[name])
               for name, hint in get_type_hints(function).items() if hint is Output}
    for path in outputs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    metadata = function(**arguments) or {}
    for name, path in outputs.items():
        if name == "metrics" and not path.exists():
            # A metrics artifact is all metadata, yet the cache wants a file at its URI.
            write_atomically(path, json_bytes(dict(metadata.get(name, {}))))
        if not path.exists():
            raise StepError(f"output {name!r}", f"a file or directory at {path}", "nothing",
                            "report this: the step ended without writing what it declares")
    return metadata


def _cast(hint: Any, value: Any) -> Any:
    """Kubeflow sends numbers as floats and booleans as JSON; give the function what it declares."""
    if hint is int:
        return int(value)
    if hint is float:
        return float(value)
    if hint is bool:
        return value if isinstance(value, bool) else json.loads(str(value).lower())
    return value


def documentation(function: Callable) -> tuple[str, dict[str, str]]:
    """What a step's docstring says: of the step, and of each parameter."""
    summary, _, arguments = (inspect.getdoc(function) or "").partition("Args:")
    parameters = dict(
        line.strip().split(": ", 1)
        for line in arguments.split("\n\n")[0].replace("\n        ", " ").splitlines()
        if ": " in line
    )
    return summary.strip(), parameters


def _parser(function: Callable) -> argparse.ArgumentParser:
    summary, helps = documentation(function)
    parser = argparse.ArgumentParser(
        prog=_command_name(function),
        description=summary, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hints = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        is_path = hint in (Input, Output)
        required = parameter.default is inspect.Parameter.empty
        kind: Any = Path if is_path else (_flag if hint is bool else hint)
        parser.add_argument(
            "--" + name.replace("_", "-"), dest=name, type=kind, required=required,
            default=None if required else parameter.default,
            metavar={Input: "DIR", Output: "OUT"}.get(hint, hint.__name__.upper()),
            help=helps.get(name, "") + ("" if required else f" [default: {parameter.default!r}]"),
        )
    return parser


def _command_name(function: Callable) -> str:
    """What an image calls the step: ``temporal-split``."""
    return function.__name__.replace("_", "-")


def _flag(text: str) -> bool:
    return bool(json.loads(text.lower()))
