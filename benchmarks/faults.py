"""Make things go wrong between real storage clients and real servers, and write down what happens.

    python -m benchmarks.faults            # all of it, and the table in docs/reliability.md
    python -m benchmarks.faults --no-write # only show it

The servers are processes on this machine (gcp-storage-emulator, moto), the faults come from
a proxy in between. Every outcome is checked by a second client that bypasses the proxy.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from model_core.errors import StorageError
from model_core.records import write_atomically
from model_core.storage.object_store import ObjectStore
from model_core.storage.opening import open_store
from model_core.storage.settings import StorageSettings
from model_core.storage.transfer import tree_index, upload_tree
from tests.storage.doubles import servers
from tests.storage.doubles.fault_proxy import Fault, FaultProxy, fault_proxy

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
START, END = "<!-- faults: written by python -m benchmarks.faults -->", "<!-- end of faults -->"

SIZE = 12_000_000
LIMITS = StorageSettings(deadline_s=4, timeout_s=1, chunk_bytes=1 << 20, first_wait_s=0.1, longest_wait_s=1)
NUM_RACERS, NUM_RACES = 16, 5

_EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
_XML = {"Content-Type": "application/xml"}

#: What goes wrong, in words, and how the proxy does it (twice: passing; for ever: lasting).
FAULTS: dict[str, Fault] = {
    "200 ms of latency, every request": Fault("latency", None),
    "503, three times": Fault("status", 3, status=503),
    "429, three times": Fault("status", 3, status=429),
    "reset before the request is read": Fault("reset_before"),
    "reset half-way through a request": Fault("reset_upload"),
    "done, but the answer is lost": Fault("reset_after"),
    "reset half-way through an answer": Fault("reset_mid_body"),
    "answer cut short": Fault("truncated"),
    "one byte of an object flipped on its way here": Fault("corrupt_answer", match=lambda method, path: (
        method == "GET" and "list-type" not in path and ("alt=media" in path or "storage/v1" not in path))),
    "one byte of an object flipped on its way there": Fault("corrupt_request", match=lambda method, path: (
        (method in ("PUT", "POST") and "uploadType=resumable&" not in path + "&") or "upload_id" in path)),
    "no answer, once": Fault("stall"),
    "503 for ever": Fault("status", None, status=503),
    "resets for ever": Fault("reset_before", None),
    "no answer for ever": Fault("stall", None),
    "access refused (403)": Fault("status", None, status=403),
    "token refused once (401, S3: ExpiredToken)": Fault("status", 1),
    "token refused for ever": Fault("status", None),
}


@dataclass(frozen=True)
class Operation:
    """Something that is done while faults happen.

    Attributes:
        name: Heading of its column.
        skip: Requests that pass before the fault, so that a long one is hit in its middle.
        prepare: Through a client without faults.
        act: Through the client with faults.
        holds: Whether, by a client without faults, it is wholly done.
        untouched: Whether, by that client, nothing of it can be seen.
    """

    name: str
    skip: int
    prepare: Callable[[ObjectStore, Path], object]
    act: Callable[[ObjectStore, Path], object]
    holds: Callable[[ObjectStore, Path], bool]
    untouched: Callable[[ObjectStore, Path], bool]


def _same(store: ObjectStore, folder: Path) -> bool:
    store.get("up/file", folder / "check")
    return (folder / "check").read_bytes() == (folder / "in").read_bytes()


OPERATIONS = (
    Operation(
        "upload of 12 MB", 2, lambda store, folder: store.delete("up/file"),
        lambda store, folder: store.put("up/file", folder / "in"),
        _same, lambda store, folder: store.stat("up/file") is None),
    Operation(
        "download of 12 MB", 2,
        lambda store, folder: (store.put("down", folder / "in"), (folder / "out").unlink(missing_ok=True)),
        lambda store, folder: store.get("down", folder / "out"),
        lambda store, folder: (folder / "out").read_bytes() == (folder / "in").read_bytes(),
        lambda store, folder: not list(folder.glob("*out*"))),
    Operation(
        "move of the pointer", 0, lambda store, folder: store.write("pointer", b"old"),
        lambda store, folder: _move(store), lambda store, folder: store.read("pointer")[0] == b"new",
        lambda store, folder: store.read("pointer")[0] == b"old"),
)


def _move(store: ObjectStore) -> None:
    if not store.write_if("pointer", b"new", store.read("pointer")[1]):
        raise AssertionError("lost a race that nobody else ran")


def measure(operation: Operation, fault: Fault, proxy: FaultProxy, proxied: ObjectStore,
            direct: ObjectStore, folder: Path) -> str:
    """One cell: requests, seconds, outcome."""
    operation.prepare(direct, folder)
    hitting = replace(fault, skip=operation.skip)
    proxy.faults = [hitting]
    before, started = len(proxy.requests), time.monotonic()
    try:
        operation.act(proxied, folder)
        error = None
    except StorageError as caught:
        error = caught
    seconds, requests = time.monotonic() - started, len(proxy.requests) - before
    proxy.faults = []
    if fault.times and hitting.times == fault.times:
        return "–"
    if error is None:
        outcome = "done" if operation.holds(direct, folder) else "WRONG"
    else:
        outcome = "clear error, nothing visible" if operation.untouched(direct, folder) else "HALF DONE"
    return f"{outcome}; {requests} request{'s' * (requests != 1)}, {seconds:.1f} s"


@contextlib.contextmanager
def _store(kind: str) -> Iterator[tuple[FaultProxy, ObjectStore, ObjectStore, str]]:
    """Proxy, a client through it, a client past it, and the server's URL."""
    variable, uri, serve = {
        "gs": ("STORAGE_EMULATOR_HOST", f"gs://{servers.BUCKET}/faults", servers.gcs_server),
        "s3": ("AWS_ENDPOINT_URL", f"s3://{servers.BUCKET}/faults", servers.s3_server),
    }[kind]
    os.environ.update(servers.S3_ENVIRONMENT)
    with serve() as url, fault_proxy(url) as proxy:
        clients = []
        for place in (url, proxy.url):  # the proxy last: a client that is made anew must find it
            os.environ[variable] = place
            clients.append(open_store(uri, settings=LIMITS))
            clients[-1].stat("warm")
        yield proxy, clients[1], clients[0], url


def fault_table(kind: str, folder: Path) -> list[str]:
    """The rows of one store."""
    title = {"gs": "Google Cloud Storage", "s3": "S3"}[kind]
    lines = [f"**{title}**", "", "| fault | " + " | ".join(op.name for op in OPERATIONS) + " |",
             "|---|" + "---|" * len(OPERATIONS)]
    with _store(kind) as (proxy, proxied, direct, _):
        none = Fault("latency", None, seconds=0)
        base = [measure(op, none, proxy, proxied, direct, folder) for op in OPERATIONS]
        lines.append("| none | " + " | ".join(base) + " |")
        for name, fault in FAULTS.items():
            if name.startswith("token"):
                fault = replace(fault, status=401) if kind == "gs" else replace(
                    fault, status=400, headers=_XML, body=_EXPIRED)
                if kind == "gs" and fault.times == 1:
                    continue  # needs a client that has a token: tests/storage/test_credentials.py
            if kind == "s3" and fault.kind == "corrupt_request":
                continue  # moto does not compare Content-MD5
            cells = [measure(op, fault, proxy, proxied, direct, folder) for op in OPERATIONS]
            print(f"{title}, {name}: {cells}", flush=True)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def race_line(kind: str) -> str:
    """Races for the pointer: how often exactly one wins."""
    right = 0
    with _store(kind) as (_, _, direct, _):
        clients = [direct] + [open_store(direct.uri, settings=LIMITS) for _ in range(NUM_RACERS - 1)]
        for race in range(NUM_RACES):
            start, won = threading.Barrier(NUM_RACERS), []

            def run(number: int, key: str = f"race{race}", start=start, won=won) -> None:
                generation = clients[number].read(key)[1]
                start.wait()
                if clients[number].write_if(key, b"equal bytes", generation):
                    won.append(number)

            threads = [threading.Thread(target=run, args=(number,)) for number in range(NUM_RACERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            right += len(won) == 1
    return (f"| {NUM_RACERS} clients write one key at once, {NUM_RACES} times | "
            f"exactly one won in {right} of {NUM_RACES} |")


def kill_line(kind: str, folder: Path) -> str:
    """SIGKILL in the middle of an upload of a tree, then the same upload again."""
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    for number in range(8):
        (tree / f"{number}.npy").write_bytes(os.urandom(500_000))
    writes = lambda method, path: method in ("PUT", "POST")
    with _store(kind) as (proxy, _, direct, _):
        proxy.faults = [Fault("stall", None, skip=4, match=writes)]
        variable = "STORAGE_EMULATOR_HOST" if kind == "gs" else "AWS_ENDPOINT_URL"
        command = [sys.executable, "-m", "tests.storage.doubles.uploader", direct.uri, "tree", str(tree)]
        process = subprocess.Popen(command, env=os.environ | {variable: proxy.url}, cwd=servers.ROOT)
        deadline = time.monotonic() + 60
        while len(direct.list("tree")) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left, seen = len(direct.list("tree")), tree_index(direct, "tree") is not None
        upload_tree(direct, "tree", tree)
        direct.get_tree("tree", folder / f"copy-{kind}")
    return (f"| upload of 8 files killed (SIGKILL) after {left} | {'SEEN' if seen else 'nothing visible'}; "
            f"repeating it sent the other {8 - left} and the index, and all bytes were right |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--no-write", action="store_true", help="leave docs/reliability.md alone")
    arguments = parser.parse_args()
    lines = [START, "", f"Measured with a deadline of {LIMITS.deadline_s:g} s per request, a timeout of "
             f"{LIMITS.timeout_s:g} s and chunks of 1 MiB (5 MiB for parts on S3).", ""]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").write_bytes(os.urandom(SIZE))
        for kind in ("gs", "s3"):
            lines += [*fault_table(kind, folder), ""]
        for kind, title in (("gs", "Google Cloud Storage"), ("s3", "S3")):
            lines += [f"| {title} | outcome |", "|---|---|", race_line(kind), kill_line(kind, folder), ""]
    text = "\n".join([*lines, END])
    print(text)
    if not arguments.no_write:
        before, rest = PAGE.read_text().split(START)
        write_atomically(PAGE, (before + text + rest.split(END)[1]).encode())


if __name__ == "__main__":
    main()
