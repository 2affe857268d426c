"""KFP's local orchestrator runs container components as processes. Fails when kfp's internals move."""

from pathlib import Path

import pytest
from kfp import compiler, dsl

from pipelines.targets import process, step_cache

WRITE = """
import json, os, sys
value = json.loads(sys.argv[-1])
mode, mended = (value["inputs"]["parameterValues"][name] for name in ("mode", "mended"))
if mode == "fail" and not os.path.exists(mended):
    print("about to fail"); sys.exit(3)
if mode == "die": os.kill(os.getpid(), 9)
if mode != "forget":
    path = value["outputs"]["artifacts"]["text"]["artifacts"][0]["uri"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    before = value["inputs"].get("artifacts", {}).get("before")
    old = open(before["artifacts"][0]["uri"]).read() if before else ""
    open(path, "w").write(old + mode)
    out = {"artifacts": {"text": {"artifacts": [value["outputs"]["artifacts"]["text"]["artifacts"][0]]}}}
    json.dump(out, open(value["outputs"]["outputFile"], "w"))
print("done")
"""


@dsl.container_component
def first(text: dsl.Output[dsl.Dataset], mode: str, mended: str = ""):
    return dsl.ContainerSpec(image="none", command=["python3", "-c", WRITE],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


@dsl.container_component
def second(before: dsl.Input[dsl.Dataset], text: dsl.Output[dsl.Dataset], mode: str, mended: str = ""):
    return dsl.ContainerSpec(image="none", command=["python3", "-c", WRITE],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


LOOK = """
import hashlib, json, os, sys
value = json.loads(sys.argv[-1])
text = open(value["inputs"]["parameterValues"]["content"]).read()
artifact = value["outputs"]["artifacts"]["seen"]["artifacts"][0]
os.makedirs(os.path.dirname(artifact["uri"]), exist_ok=True)
open(artifact["uri"], "w").write(text)
artifact["metadata"] = {"digest": hashlib.sha256(text.encode()).hexdigest()}
json.dump({"artifacts": {"seen": {"artifacts": [artifact]}}}, open(value["outputs"]["outputFile"], "w"))
"""


@dsl.container_component
def look(content: str, seen: dsl.Output[dsl.Dataset]):
    return dsl.ContainerSpec(image="none", command=["python3", "-c", LOOK],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


@dsl.container_component
def use(seen: dsl.Input[dsl.Dataset], text: dsl.Output[dsl.Dataset], mode: str = "x", mended: str = ""):
    return dsl.ContainerSpec(image="none", command=["python3", "-c", WRITE],
                             args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER])


@dsl.pipeline(name="watched")
def watched(content: str):
    looked = look(content=content)
    looked.set_caching_options(False)
    use(seen=looked.outputs["seen"])


@dsl.pipeline(name="pair")
def pair(one: str, two: str, mended: str):
    start = first(mode=one, mended=mended)
    second(before=start.outputs["text"], mode=two, mended=mended)


@pytest.fixture(scope="module")
def yaml(tmp_path_factory):
    path = tmp_path_factory.mktemp("yaml") / "pair.yaml"
    compiler.Compiler().compile(pair, str(path))
    return path


def run(yaml: Path, root: Path, one: str, two: str, **kwargs):
    arguments = {"one": one, "two": two, "mended": str(root / "mended")}
    return {step.name: step for step in
            process.run_pipeline(yaml, arguments, root, ("first", "second"), **kwargs)}


def test_runs_in_order_and_passes_artifacts(yaml, tmp_path):
    said = []
    steps = run(yaml, tmp_path, "a", "b", output=said.append)
    assert [step.status for step in steps.values()] == ["succeeded", "succeeded"]
    assert Path(steps["second"].outputs["text"]).read_text() == "ab"
    assert b"".join(said).count(b"done") == 2
    assert steps["first"].wall_s > 0
    assert steps["first"].peak_mb > 1
    assert "done" in Path(steps["first"].log).read_text()


def test_second_run_is_served_from_the_cache(yaml, tmp_path):
    before = run(yaml, tmp_path, "a", "b")
    after = run(yaml, tmp_path, "a", "b")
    assert all(step.cached for step in after.values())
    assert after["second"].outputs == before["second"].outputs
    assert not any(step.cached for step in run(yaml, tmp_path, "a", "b", enable_caching=False).values())


def test_changed_parameter_reruns_only_what_needs_it(yaml, tmp_path):
    run(yaml, tmp_path, "a", "b")
    steps = run(yaml, tmp_path, "a", "c")
    assert steps["first"].cached
    assert not steps["second"].cached


def test_vanished_artifact_is_made_again(yaml, tmp_path):
    before = run(yaml, tmp_path, "a", "b")
    Path(before["first"].outputs["text"]).unlink()
    assert not run(yaml, tmp_path, "a", "b")["first"].cached


def test_a_step_that_always_runs_invalidates_nothing_while_its_record_stays_the_same(tmp_path):
    """The key of a step holds the digests of the records that it reads, not where they lie."""
    yaml = tmp_path / "watched.yaml"
    compiler.Compiler().compile(watched, str(yaml))
    content = tmp_path / "content"

    def go(text):
        content.write_text(text)
        return {step.name: step for step in process.run_pipeline(
            yaml, {"content": str(content)}, tmp_path / "root", ("look", "use"))}

    first, again, changed, back = (go(text) for text in ("a", "a", "b", "a"))
    assert not any(steps["look"].cached for steps in (first, again, changed, back))
    assert first["look"].outputs != again["look"].outputs
    assert [steps["use"].cached for steps in (first, again, changed, back)] == [False, True, False, True]
    assert back["use"].outputs == first["use"].outputs


def test_damaged_record_is_made_again(tmp_path):
    from model_core.records import write_record

    with write_record(tmp_path / "r", "demo", 1) as (folder, _):
        (folder / "x").write_text("12345")
    assert step_cache.is_intact(tmp_path / "r")
    (tmp_path / "r" / "x").write_text("1")
    assert not step_cache.is_intact(tmp_path / "r")


def test_failure_says_why_and_resumes_there(yaml, tmp_path, capfd):
    steps = run(yaml, tmp_path, "a", "fail")
    assert capfd.readouterr().err == ""  # the caller tells it, KFP's log does not tell it again
    assert steps["first"].status == "succeeded"
    assert steps["second"].status == "failed"
    assert "exit code 3" in steps["second"].error
    (tmp_path / "mended").touch()
    steps = run(yaml, tmp_path, "a", "fail")
    assert steps["first"].cached
    assert steps["second"].status == "succeeded"


def test_failure_of_the_first_step_leaves_the_second_not_run(yaml, tmp_path):
    steps = run(yaml, tmp_path, "fail", "b")
    assert (steps["first"].status, steps["second"].status) == ("failed", "not_run")


@pytest.mark.parametrize(("mode", "message"), [("forget", "no output text"), ("die", "killed by SIGKILL")])
def test_silent_failures_are_failures(yaml, tmp_path, mode, message):
    steps = run(yaml, tmp_path, mode, "b")
    assert steps["first"].status == "failed"
    assert message in steps["first"].error
    assert steps["second"].status == "not_run"


def test_patches_are_undone(yaml, tmp_path):
    from kfp.local import cache, subprocess_task_handler

    before = subprocess_task_handler.SubprocessTaskHandler, cache.LocalCache
    run(yaml, tmp_path, "a", "b")
    assert (subprocess_task_handler.SubprocessTaskHandler, cache.LocalCache) == before


