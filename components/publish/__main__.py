"""What the publish step runs."""

import sys
import time
from pathlib import Path

from components._step import Input, Metadata, Output, run_step


def publish(
    bundle: Input, report: Input, data_watch: Input, registry: str, publication: Output, run_name: str = ""
) -> Metadata:
    """Store the bundle under a version; move the champion pointer only if the verdict says so.

    Args:
        bundle: Exported model (record: bundle).
        report: Holds the verdict (record: report).
        data_watch: Statistics of the data, kept with the version for later runs (record: data_watch).
        registry: Directory or URI (gs://, s3://) of the model registry.
        publication: What was published and who is champion now (JSON).
        run_name: Name of the run, kept in the registry's log.
    """
    from dataclasses import asdict

    from model_core.evaluation.record import Report
    from model_core.records import json_bytes, write_atomically
    from model_core.storage.champion import DATA
    from model_core.storage.pointer import logical_date_text
    from model_core.storage.registry import Registry
    from model_core.watch.record import DataWatch

    judged = Report.open(report, verify="digest")
    done = Registry(registry).publish(
        Path(bundle), verdict=asdict(judged.verdict), logical_date=logical_date_text(judged.logical_time),
        run_info={**judged.facts["context"], "run_name": run_name,
                  "report_digest": judged.record.digest},
        now=int(time.time()),
        extra={DATA: DataWatch.open(data_watch, verify="digest").statistics_file.read_bytes()},
    )
    write_atomically(Path(publication), json_bytes(asdict(done) | {"registry": registry}))
    print(f"version {done.version}: " + ("promoted to champion" if done.promoted else "stored")
          + f"; champion is {done.champion or 'none yet'}")
    return {"publication": {"version": done.version, "promoted": str(done.promoted).lower()}}


if __name__ == "__main__":
    sys.exit(run_step(publish))
