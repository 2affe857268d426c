"""A backfill of a task that nobody trains: outcomes are made up, registries are real."""

import threading
from pathlib import Path

from model_core.config import RunConfig
from model_core.records import write_record
from model_core.storage.registry import Registry
from pipelines.backfill.outcome import Outcome, figures_of
from pipelines.backfill.request import Backfill

VERDICT = {"metric": "map", "k": 10, "split": "test", "mask": "none", "model": "contextgnn",
           "best_baseline": "blend", "promote": True, "reason": "made up", "champion": None}


def metrics_of(mean: float, champion: float | None = None) -> list[dict]:
    """A summary's metrics: what decides, and rows that do not."""
    means = {"contextgnn": mean, "blend": 0.2, **({"champion": champion} if champion else {})}
    rows = [{"split": "test", "mask": "none", "metric": "map", "k": 10, "model": name, "mean": value,
             "ci_low": value - 0.05, "ci_high": value + 0.05, "num_users": 40}
            for name, value in means.items()]
    return [row | {"k": 12, "mean": 0.9} for row in rows] + rows + [row | {"split": "val"} for row in rows]


def backfill_of(root: Path, dates, **changes) -> Backfill:
    settings = {"dates": dates, "dataset": "shop", "task": "buy", "root": root,
                "registry": str(root / "registry"), "config": RunConfig(), "every": "1d", **changes}
    return Backfill(**settings)


class FakeRunner:
    """Publishes a made-up bundle per date; fails and blocks where it is told to."""

    def __init__(self, registry: str, fails=(), blocks=()) -> None:
        self.registry = Registry(registry, kind="bundle", schema_version=1)
        self.fails, self.blocks = fails, blocks
        self.ran: list[str] = []
        self.most_at_once, self._now, self._lock = 0, 0, threading.Lock()
        self.blocked = threading.Event()

    def run(self, date, earlier, stop, note) -> Outcome:
        with self._lock:
            self.ran.append(date.name)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            note({"run_id": f"run-{date.name}"})
            if date.name in self.blocks:
                self.blocked.set()
                assert stop.wait(20)
                return Outcome("interrupted", 1.0)
            if date.name in self.fails:
                return Outcome("failed", 1.0, error="train: the loss is not finite")
            return Outcome("done", 2.0, self._publish(date) | {"train_s": 1.0, "epochs": 3})
        finally:
            with self._lock:
                self._now -= 1

    def _publish(self, date) -> dict:
        with self._lock:
            folder = Path(self.registry.store.uri.removeprefix("file://")) / ".." / f"bundle-{date.name}"
            with write_record(folder.resolve(), "bundle", 1) as (inside, _):
                (inside / "model.onnx").write_text(date.name)
            done = self.registry.publish(folder.resolve(), verdict=VERDICT, logical_date=date.text,
                                         run_info={"run_name": f"retrain-buy-{date.name}"}, now=1)
        return figures_of(metrics_of(0.1), VERDICT, vars(done))


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple] = []

    def started(self, date) -> None:
        self.lines.append(("start", date.name))

    def ended(self, date, outcome, *, num_left) -> None:
        self.lines.append((outcome.status, date.name, num_left))
