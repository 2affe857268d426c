import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from model_core.errors import ConfigError
from model_core.storage.cache import ContentCache


def _file(folder: Path, data: bytes) -> tuple[Path, str]:
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / sha256[:8]
    path.write_bytes(data)
    return path, sha256


def test_what_is_kept_comes_back(tmp_path):
    cache = ContentCache(tmp_path / "cache")
    path, sha256 = _file(tmp_path, b"x" * 1000)
    assert not cache.place(sha256, tmp_path / "out")
    cache.add(path, sha256)
    path.unlink()
    assert cache.place(sha256, tmp_path / "new" / "out")
    assert (tmp_path / "new" / "out").read_bytes() == b"x" * 1000


def test_a_damaged_file_is_thrown_away(tmp_path):
    cache = ContentCache(tmp_path / "cache")
    path, sha256 = _file(tmp_path, b"x" * 1000)
    cache.add(path, sha256)
    kept = next((tmp_path / "cache" / "content").glob("*/*"))
    kept.chmod(0o644)
    kept.write_bytes(b"y" * 1000)
    assert not cache.place(sha256, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not kept.exists()


def test_the_oldest_use_goes_first(tmp_path):
    cache = ContentCache(tmp_path / "cache", max_bytes=2_500)
    files = [_file(tmp_path, bytes([number]) * 1000) for number in range(3)]
    for number, (path, sha256) in enumerate(files[:2]):
        cache.add(path, sha256)
        kept = tmp_path / "cache" / "content" / sha256[:2] / sha256
        os.utime(kept, (number, number))
    assert cache.place(files[0][1], tmp_path / "used")  # now the second is the oldest
    cache.add(*files[2])
    assert cache.place(files[0][1], tmp_path / "a")
    assert not cache.place(files[1][1], tmp_path / "b")
    assert cache.place(files[2][1], tmp_path / "c")


def test_a_tree_in_use_stays_and_others_go(tmp_path):
    cache = ContentCache(tmp_path / "cache", max_bytes=10)
    mine = cache.tree("mine", lambda folder: (folder / "x").write_text("1"))
    other = tmp_path / "cache" / "trees" / "other"
    other.mkdir()
    cache.add(*_file(tmp_path, b"1" * 100))
    cache.add(*_file(tmp_path, b"2" * 100))
    assert (mine / "x").read_text() == "1"
    assert not other.exists()
    assert cache.tree("mine", lambda folder: pytest.fail("built again")) == mine


def test_a_tree_that_cannot_be_built_leaves_nothing(tmp_path):
    def build(folder):
        (folder / "x").touch()
        raise OSError("no network")

    cache = ContentCache(tmp_path / "cache")
    with pytest.raises(OSError, match="no network"):
        cache.tree("t", build)
    assert [path.name for path in (tmp_path / "cache" / "trees").iterdir()] == ["t.lease"]


def _churn(root: str, seed: int, results) -> None:
    cache, folder = ContentCache(Path(root) / "cache", max_bytes=20_000), Path(root) / str(seed)
    folder.mkdir()
    bad = 0
    for number in range(60):
        data = bytes([(number * 7 + seed) % 40]) * 1000
        path, sha256 = _file(folder, data)
        cache.add(path, sha256)
        if cache.place(sha256, folder / "out"):
            bad += (folder / "out").read_bytes() != data
    results.put(bad)


def test_many_processes_at_once_never_see_a_wrong_file(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_churn, args=(str(tmp_path), seed, results)) for seed in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [0, 0, 0]
    for process in processes:
        process.join()
    kept = sum(path.stat().st_size for path in (tmp_path / "cache" / "content").glob("*/*"))
    assert kept <= 20_000 + 3 * 1000


def test_places_and_sizes_come_from_the_environment(tmp_path):
    cache = ContentCache.from_environment({"RELREC_CACHE_DIR": str(tmp_path), "RELREC_CACHE_GB": "0.5"})
    assert (cache.root, cache.max_bytes) == (tmp_path / "objects", 500_000_000)
    assert ContentCache.from_environment({"XDG_CACHE_HOME": "/x"}).root == Path("/x/relrec/objects")
    for text in ("many", "0", "-1", "nan", "inf"):
        with pytest.raises(ConfigError, match="RELREC_CACHE_GB"):
            ContentCache.from_environment({"RELREC_CACHE_GB": text})


def test_a_text_that_is_no_digest_becomes_no_path(tmp_path):
    cache, victim = ContentCache(tmp_path / "cache"), tmp_path / "victim"
    victim.write_bytes(b"x")
    (tmp_path / "cache" / "content").mkdir(parents=True)
    for text in ("../victim", str(victim), "A" * 64, "0" * 64 + "\n", ""):
        assert not cache.place(text, tmp_path / "out")
        cache.add(victim, text)
    assert victim.read_bytes() == b"x"
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_cache_of_another_user_fails_no_transfer(tmp_path, monkeypatch):
    cache = ContentCache(tmp_path / "cache")
    path, sha256 = _file(tmp_path, b"x" * 1000)
    cache.add(path, sha256)

    def refuse(*arguments, **options):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr("model_core.storage.cache.os.utime", refuse)
        assert cache.place(sha256, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"x" * 1000
    cache.remember("object", sha256)
    monkeypatch.setattr("model_core.storage.cache.file_sha256", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    assert not cache.place(sha256, tmp_path / "again")
    assert cache.known("object") is None
