"""Copies of resume states in an object store, so that another machine can go on.

The states themselves are written to a local directory (``state.py``) and uploaded by one
thread while training goes on. An upload is visible only when it is whole, so that
whatever kills the machine, the newest whole state in the store is a good one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from model_core.errors import RelrecError, StorageError
from model_core.records import MANIFEST, verify_record
from model_core.storage.object_store import ObjectStore
from model_core.storage.opening import open_store
from model_core.storage.transfer import remove_tree
from model_core.storage.uri import is_remote, local_path

NUM_KEPT = 2
#: Kubernetes gives a pod 30 seconds between SIGTERM and SIGKILL.
GRACE_S = 25.0


class _Upload(NamedTuple):
    """Hard links to a state and to the best weights that it names."""

    state: Path
    best: Path | None


class StateMirror:
    """Keeps the newest states of one fit under a prefix of an object store.

    Args:
        store: Where to.
        prefix: Of this fit alone.
        grace_s: Seconds that ``flush`` waits for an upload.
    """

    def __init__(self, store: ObjectStore, prefix: str, grace_s: float = GRACE_S) -> None:
        self.store, self.prefix, self.grace_s = store, prefix, grace_s
        self._changed = threading.Condition()
        self._waiting: _Upload | None = None
        self._busy = False
        self._thread: threading.Thread | None = None

    def child(self, name: str) -> StateMirror:
        """The mirror of another fit of the same run."""
        return StateMirror(self.store, f"{self.prefix}/{name}", self.grace_s)

    def fetch(self, folder: Path) -> None:
        """Download the newest state that can be had, and the best weights it names.

        What is damaged is removed from the store with a warning, so that it is not kept in place of
        the states to come; an older state then serves.
        """
        folder.mkdir(parents=True, exist_ok=True)
        states, bests = self._stored()
        for name in reversed(states):
            try:
                self._download(name, folder)
                best = json.loads((folder / name / "counters.json").read_bytes())["best_step"]
                if best is not None:
                    self._download(f"best-{best:09}", folder)
            except (RelrecError, OSError, ValueError, KeyError) as error:
                warnings.warn(f"training state {self.uri}/{name} skipped: {error}", stacklevel=2)
                shutil.rmtree(folder / name, ignore_errors=True)
                if not isinstance(error, StorageError):  # then it may be the network
                    self._remove(name)
                continue
            return
        for name in bests:  # no state names them any more
            self._remove(name)

    def push(self, state: Path, best: Path | None) -> None:
        """Upload a state in the background; one that still waits is overtaken.

        Args:
            state: Its record. It may be removed at once after the call.
            best: Record of the best weights that it names.
        """
        upload = _linked(state, best)
        with self._changed:
            overtaken, self._waiting = self._waiting, upload
            if self._thread is None:
                self._thread = threading.Thread(target=self._upload_all, daemon=True, name="state-mirror")
                self._thread.start()
            self._changed.notify_all()
        if overtaken is not None:
            shutil.rmtree(overtaken.state.parent, ignore_errors=True)

    def flush(self) -> bool:
        """Wait until nothing is left to upload, for ``grace_s`` at most. Whether that was reached."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._waiting is None and not self._busy, timeout=self.grace_s)

    def newest(self) -> str | None:
        """Name of the newest whole state in the store."""
        return next(reversed(self._stored()[0]), None)

    @property
    def uri(self) -> str:
        """Where the states lie, for people."""
        return f"{self.store.uri.rstrip('/')}/{self.prefix}"

    def _upload_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None)
                upload, self._waiting, self._busy = self._waiting, None, True
            assert upload is not None
            try:
                for record in (upload.best, upload.state):  # a state never names what is not there
                    if record is not None:
                        self.store.put_tree(f"{self.prefix}/{record.name}", record)
                self._prune(upload.state.name)
            except Exception as error:
                # The next state may get through; training does not end for want of a copy.
                warnings.warn(f"training state not uploaded: {error}", stacklevel=2)
            finally:
                shutil.rmtree(upload.state.parent, ignore_errors=True)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _prune(self, newest: str) -> None:
        """Remove all but the state just stored and the one before it."""
        states, bests = self._stored()
        kept, named = [name for name in states if name <= newest][-NUM_KEPT:], set()
        for name in kept:
            try:
                best = json.loads(self.store.read(f"{self.prefix}/{name}/counters.json")[0])["best_step"]
            except (ValueError, KeyError):  # it lost a file; a restart finds that, too
                continue
            named |= {f"best-{best:09}"} if best is not None else set()
        for name in states + bests:
            if name not in kept and name not in named:
                self._remove(name)

    def _remove(self, name: str) -> None:
        remove_tree(self.store, f"{self.prefix}/{name}")

    def _stored(self) -> tuple[list[str], list[str]]:
        """Names of whole records, oldest first: states, and best weights. One listing."""
        keys = self.store.list(self.prefix)
        parts = (key.removeprefix(f"{self.prefix}/").split("/") for key in keys)
        names = sorted(name for name, *rest in parts if rest == [MANIFEST])
        return ([name for name in names if name.startswith("step-")],
                [name for name in names if name.startswith("best-")])

    def _download(self, name: str, folder: Path) -> None:
        if not (folder / name).is_dir():
            self.store.get_tree(f"{self.prefix}/{name}", folder / name)
        verify_record(folder / name)


def _linked(state: Path, best: Path | None) -> _Upload:
    """Hard links, because the originals are removed when newer ones come."""
    waiting = Path(tempfile.mkdtemp(dir=state.parent, prefix=".uploading-"))
    records = [record for record in (state, best) if record is not None]
    for record in records:
        shutil.copytree(record, waiting / record.name, copy_function=os.link)
    return _Upload(waiting / state.name, waiting / best.name if best else None)


@contextmanager
def resume_states(
    root: str, key: str, scratch: Path
) -> Iterator[tuple[Path | None, StateMirror | None]]:
    """Where a run's resume states go.

    Args:
        root: A directory that outlives the process, a URI of an object store, or empty.
        key: Of the run: equal for every attempt at it, another for other data, settings or code.
        scratch: Directory of this attempt, on a disk: a state may have the size of the item table, and
            ``/tmp`` may be memory. Used where ``root`` is a URI.

    Yields:
        The local directory (None: no resume) and the mirror of it (None: not needed). When the
        block ends well, what is on this machine is removed. What is in an object store stays:
        the machine may be lost before the step's outputs are stored, and the next attempt then
        finds a finished run.
    """
    if not root:
        yield None, None
    elif is_remote(root):
        folder = scratch / ".resume-states"
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
        folder.mkdir(parents=True)
        try:
            yield folder, StateMirror(open_store(root), key)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        state_dir = local_path(root, "checkpoint_root") / key
        yield state_dir, None
        shutil.rmtree(state_dir, ignore_errors=True)
