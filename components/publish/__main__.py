"""What the publish step runs."""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components._images import code_digest
from components._step import Input, Metadata, Output, run_step


def publish(
    bundle: Input,
    report: Input,
    data_watch: Input,
    registry: str,
    publication: Output,
    run_name: str = "",
    who: str = "",
    settings_digest: str = "",
) -> Metadata:
    """Store the bundle under a version; move the champion pointer only if every rule is met.

    Args:
        bundle: Exported model (record: bundle).
        report: Holds the verdict (record: report).
        data_watch: Statistics of the data, kept with the version for later runs (record: data_watch).
        registry: Directory or URI (gs://, s3://) of the model registry.
        publication: What was published and who is champion now (JSON).
        run_name: Name of the run, kept in the registry's log.
        who: Who runs it, kept in the registry's log; empty for the step's own user@host.
        settings_digest: As load_champion was given it, kept with the version.
    """
    from dataclasses import asdict

    from model_core.evaluation.promotion import with_bundle
    from model_core.evaluation.record import Report
    from model_core.logical_date import date_name, date_text
    from model_core.records import json_bytes, write_atomically
    from model_core.serving.bundle import Bundle
    from model_core.storage.champion import DATA, run_key
    from model_core.storage.pointer import caller
    from model_core.storage.registry import Registry
    from model_core.watch.record import DataWatch

    judged = Report.open(report, verify="digest")
    date = date_name(judged.logical_time)
    # A schedule names its runs before it knows their dates.
    name = run_name if run_name.endswith(date.lower()) else f"{run_name}-{date.lower()}".strip("-")
    verdict = with_bundle(judged.verdict, Bundle.open(bundle).record, judged.facts["digests"])
    done = Registry(registry).publish(
        Path(bundle), verdict=asdict(verdict), logical_date=date_text(judged.logical_time),
        run_info={**judged.facts["context"], "run_name": name,
                  "report_digest": judged.record.digest, "figures": judged.deciding_figures(),
                  "inputs_digest": _inputs_digest(Path(bundle), judged.facts),
                  "run_key": run_key(settings_digest, judged.facts["digests"]["split"], code_digest())},
        now=int(time.time()), who=who or caller(), judged_against=verdict.champion,
        extra={DATA: DataWatch.open(data_watch, verify="digest").statistics_file.read_bytes()},
    )
    write_atomically(Path(publication), json_bytes(asdict(done) | {
        "registry": registry, "logical_date": date_text(judged.logical_time), "run_name": name}))
    print(f"{name}, version {done.version}: " + ("promoted to champion" if done.promoted else "stored")
          + f"; champion is {done.champion or 'none yet'}")
    if not done.promoted:
        print(done.reason)
    return {"publication": {"version": done.version, "promoted": str(done.promoted).lower()}}


def _inputs_digest(bundle: Path, facts: Mapping[str, Any]) -> str:
    """Digest of all that decides what a run computes: a GPU may round it to other weights."""
    from model_core.records import json_bytes

    digests = facts["digests"]
    return hashlib.sha256(json_bytes({
        "code": code_digest(), "settings": json.loads((bundle / "config.json").read_bytes()),
        "data": {name: digests.get(name) for name in ("graph", "split", "negative_queue")},
        # After a rollback a warm start of the same date begins elsewhere, and is another model.
        "start": (facts.get("start") or {}).get("bundle"),
    })).hexdigest()


if __name__ == "__main__":
    sys.exit(run_step(publish))
