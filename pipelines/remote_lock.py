"""A lock in an object store: one run at a time under one root."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from model_core.errors import ConfigError, StorageError
from model_core.records import json_bytes
from model_core.storage.object_store import ABSENT, ObjectStore

LOCK = "lock.json"


class RemoteLock:
    """A lease that its holder renews while it lives, taken and renewed by compare-and-swap.

    A holder that dies is succeeded when its lease runs out; one that was cut off for so long
    that another took over learns of it and must stop writing (``check``). Clocks of two
    machines may differ by a good part of the lease.

    Args:
        store: Root of the run.
        lease_s: How long a lease lasts without being renewed.
        clock: UTC seconds.
    """

    def __init__(
        self, store: ObjectStore, lease_s: float = 120.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._lease_s, self._clock = store, lease_s, clock
        self._token, self._generation = uuid.uuid4().hex, ABSENT
        self._host, self._machine = socket.gethostname(), _machine()
        self._lost: str | None = None
        self._renewed: float | None = None
        self._end = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it.

        Raises:
            ConfigError: Another run does.
        """
        self._renewed = time.monotonic()
        self._take()
        self._end.clear()
        beat = threading.Thread(target=self._beat, name="lock", daemon=True)
        beat.start()
        try:
            yield
        finally:
            self._end.set()
            beat.join()
            self._renewed = None
            with contextlib.suppress(StorageError):
                if self._lost is None and not self._swap({"released": True}) and self._is_mine():
                    self._swap({"released": True})

    def check(self) -> None:
        """Refuse to go on where another run took over.

        Raises:
            StorageError: It did, or may have: the lease ran out without being renewed.
        """
        lost = self._lost
        if lost is None and self._is_overdue():
            lost = f"none that was renewed in the last {self._lease_s:g} s"
        if lost is not None:
            raise StorageError(f"{self._store.uri}/{LOCK}", "this run's lease", lost,
                               "run the same command again when the other run has ended")

    def _take(self) -> None:
        data, self._generation = self._store.read(LOCK)
        holder = _parse(data)
        if self._is_free(holder) and self._swap(self._lease()):
            return
        holder = _parse(self._store.read(LOCK)[0])
        since = datetime.fromtimestamp(holder.get("taken_at", 0), UTC).isoformat(timespec="seconds")
        raise ConfigError(
            "--root", "a root that no other run is using",
            f"{self._store.uri} in use by {holder.get('host', '?')}, process {holder.get('pid', '?')}, "
            f"since {since}", "wait for the other run to end, or pass another --root; a run that was killed "
            f"leaves its lease for {self._lease_s:.0f} s")

    def _is_free(self, holder: dict) -> bool:
        if not holder or holder.get("released"):
            return True
        if self._clock() > holder.get("renewed_at", 0) + holder.get("lease_s", 0):
            return True
        # A process id means something only on its own machine and in its own container, and
        # those may share a host name.
        is_here = holder.get("host") == self._host and holder.get("machine") == self._machine != ""
        return is_here and not _is_alive(holder.get("pid", 0))

    def _lease(self) -> dict:
        now = int(self._clock())
        self._taken_at = getattr(self, "_taken_at", now)
        return {"token": self._token, "host": self._host, "machine": self._machine, "pid": os.getpid(),
                "taken_at": self._taken_at, "renewed_at": now, "lease_s": self._lease_s}

    def _swap(self, content: dict) -> bool:
        if not self._store.write_if(LOCK, json_bytes(content), self._generation):
            return False
        data, self._generation = self._store.read(LOCK)
        return content.get("released", False) or _parse(data).get("token") == self._token

    def _is_mine(self) -> bool:
        """Whether the lock is still this run's; its generation is known again then.

        A write whose answer was lost, or that could not be read back, leaves an old one behind.
        """
        data, generation = self._store.read(LOCK)
        self._holder = _parse(data)
        if self._holder.get("token") != self._token:
            return False
        self._generation = generation
        return True

    def _is_overdue(self) -> bool:
        return self._renewed is not None and time.monotonic() - self._renewed > self._lease_s

    def _beat(self) -> None:
        while not self._end.wait(self._lease_s / 6):
            why = "another writer's changes"
            try:
                begun = time.monotonic()  # the lease counts from before the request
                if self._swap(self._lease()) or (self._is_mine() and self._swap(self._lease())):
                    self._renewed = begun
                    continue
                if not self._is_mine():
                    self._lost = (f"that of {self._holder.get('host', 'nobody')}, "
                                  f"process {self._holder.get('pid', '?')}")
                    return
            except StorageError as error:
                why = error.found
            if self._is_overdue():
                self._lost = f"none that could be renewed ({why})"
                return


def _parse(data: bytes) -> dict:
    try:
        content = json.loads(data or b"{}")
        return content if isinstance(content, dict) else {}
    except ValueError:
        return {}


def _machine() -> str:
    """This boot of this machine and this container's processes; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}" if boot else ""
    except (OSError, ValueError):
        return ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, TypeError):
        pass
    return True
