"""The lock of a root in an object store: one run at a time, whatever happens to requests."""

import json
import threading

import pytest

from model_core.errors import ConfigError, StorageError
from model_core.storage.opening import open_store
from pipelines import remote_lock
from pipelines.remote_lock import LOCK, RemoteLock


class Memory:
    """One object; the next reads or writes may be answered with an error, after they were done."""

    uri = "memory"

    def __init__(self):
        self.data, self.number, self.lost = b"", 0, {"read": 0, "write": 0}
        self.writes = threading.Condition()

    def read(self, key):
        self._answer("read")
        return self.data, str(self.number) if self.number else ""

    def write_if(self, key, data, generation):
        if generation != (str(self.number) if self.number else ""):
            return False
        self.data, self.number = data, self.number + 1
        with self.writes:
            self.writes.notify_all()
        self._answer("write")
        return True

    def _answer(self, kind):
        if self.lost[kind]:
            self.lost[kind] -= 1
            raise StorageError("memory", "an answer", "HTTP 503", "try later")

    def await_writes(self, count):
        until = self.number + count
        with self.writes:
            return self.writes.wait_for(lambda: self.number >= until, timeout=10)


def test_one_run_at_a_time(remote_uri):
    first, second = (RemoteLock(open_store(remote_uri)) for _ in range(2))
    with first.held():
        with pytest.raises(ConfigError, match="no other run is using"), second.held():
            pass
        first.check()
    with second.held():
        pass


def test_of_many_runs_that_start_at_once_one_gets_in(gcs_uri):
    inside, refused, start, leave = [], [], threading.Barrier(6), threading.Event()

    def enter(name):
        lock = RemoteLock(open_store(gcs_uri))
        start.wait()
        try:
            with lock.held():
                inside.append(name)
                leave.wait(20)
        except ConfigError:
            refused.append(name)
            if len(refused) == 5:
                leave.set()

    threads = [threading.Thread(target=enter, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 5)


def test_a_lease_that_ran_out_is_taken_and_its_holder_learns_of_it(gcs_uri):
    store, now = open_store(gcs_uri), [1_000.0]
    slow = RemoteLock(store, lease_s=0.3, clock=lambda: now[0])
    with slow.held():
        holder = json.loads(store.read(LOCK)[0])
        store.write(LOCK, json.dumps(holder | {"host": "elsewhere", "token": "other"}).encode())
        slow._end.wait(0.5)
        with pytest.raises(StorageError, match="elsewhere"):
            slow.check()
    assert json.loads(store.read(LOCK)[0])["token"] == "other", "what is another's is not released"
    with pytest.raises(ConfigError, match="elsewhere"), RemoteLock(store, clock=lambda: now[0]).held():
        pass
    now[0] += 1_000
    with RemoteLock(store, clock=lambda: now[0]).held():
        pass


def test_the_lease_of_a_dead_process_on_this_machine_is_free(gcs_uri):
    store = open_store(gcs_uri)
    lock = RemoteLock(store)
    with lock.held():
        holder = json.loads(store.read(LOCK)[0])
    store.write(LOCK, json.dumps(holder | {"pid": 2**22 + 1}).encode())
    with RemoteLock(store).held():
        pass


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_lost_answer_does_not_end_the_renewing(kind):
    store = Memory()
    lock = RemoteLock(store, lease_s=1.8)
    with lock.held():
        store.lost[kind] = 1
        assert store.await_writes(3), "renewed again and again"
        lock.check()
    assert json.loads(store.data).get("released")


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_lost_answer_at_the_end_leaves_the_lock_released(kind):
    store = Memory()
    with RemoteLock(store, lease_s=1.2).held():
        store.lost[kind] = 1
        assert store.await_writes(1)
    assert json.loads(store.data).get("released")


def test_a_lease_that_was_not_renewed_in_time_is_lost(monkeypatch):
    store = Memory()
    lock = RemoteLock(store, lease_s=60)
    with lock.held():
        lock.check()
        lock._renewed -= 61
        with pytest.raises(StorageError, match="renewed"):
            lock.check()
    lock = RemoteLock(store, lease_s=0.3)
    with lock.held():
        monkeypatch.setattr(store, "write_if", lambda *arguments: False)  # refused, with our own token there
        for _ in range(100):
            if lock._lost is None:
                lock._end.wait(0.1)
        assert "could be renewed" in lock._lost


@pytest.mark.parametrize("machine", [None, "", "another-boot pid:[1]"])
def test_an_equal_host_name_is_not_the_same_machine(machine, monkeypatch):
    store = Memory()
    with RemoteLock(store).held():
        holder = json.loads(store.data)
    store.data = json.dumps(holder | {"pid": 2**22 + 1, "machine": machine}).encode()
    with pytest.raises(ConfigError, match="no other run is using"), RemoteLock(store).held():
        pass
    monkeypatch.setattr(remote_lock, "_machine", lambda: "")
    with pytest.raises(ConfigError, match="no other run is using"), RemoteLock(store).held():
        pass
