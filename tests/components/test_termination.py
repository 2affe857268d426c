"""SIGTERM, as Kubernetes sends it before it takes a node away."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from components._step import EXIT_STOPPED

ROOT = Path(__file__).resolve().parents[2]

STEPS = {
    "at once": """
        def step(out: Output):
            with write_record(out, "demo", 1) as (folder, meta):
                (folder / "half").write_text("x")
                print("ready", flush=True)
                time.sleep(60)
    """,
    "in good order": """
        def step(out: Output):
            with termination_deferred() as asked:
                print("ready", flush=True)
                while not asked():
                    time.sleep(0.01)
            raise Stopped("stopped after step 3; the state is in the store")
    """,
    "asked, but done anyway": """
        def step(out: Output):
            with termination_deferred() as asked:
                print("ready", flush=True)
                while not asked():
                    time.sleep(0.01)
            out.write_text("done")
    """,
}


@pytest.mark.parametrize(("kind", "code", "said", "left"), [
    ("at once", EXIT_STOPPED, "stopped by SIGTERM; the same command goes on there", []),
    ("in good order", 143, "stopped after step 3; the state is in the store; the same command", []),
    ("asked, but done anyway", 0, "", ["out"]),
])
def test_sigterm(tmp_path, kind, code, said, left):
    script = textwrap.dedent("""
        import sys, time
        from components._step import Output, run_step, termination_deferred
        from model_core.errors import Stopped
        from model_core.records import write_record
    """) + textwrap.dedent(STEPS[kind]) + "\nsys.exit(run_step(step))\n"
    process = subprocess.Popen([sys.executable, "-c", script, "--out", str(tmp_path / "out")], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "ready\n" in iter(process.stdout.readline, "")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert errors.startswith(said)
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == left
