"""Settings, mounts and failure messages of the docker runner; no engine needed."""

import os
import signal
from pathlib import Path

import pytest

from model_core.config import RunConfig
from model_core.errors import ConfigError
from pipelines.runs import RunRequest
from pipelines.targets import engine
from pipelines.targets.containers import (
    ContainerSettings,
    environment_of,
    failure,
    let_group_write,
    parse_container_settings,
    user_of,
    volumes_of,
)
from pipelines.targets.runners import runner_of
from pipelines.targets.session import Task
from pipelines.targets.store_access import check_readable, store_access


def test_settings(tmp_path):
    settings = parse_container_settings(
        ["memory=2g", "env=A=b=c", "env=HOME", f"mount={tmp_path}", "user=1:2"], network="host")
    assert settings == ContainerSettings(
        network="host", memory="2g", user="1:2", environment=("A=b=c", "HOME"), mounts=(str(tmp_path),))
    assert parse_container_settings(["network=none"], network="host").network == "none"


@pytest.mark.parametrize("pair", [
    "memory", "memory=", "ram=2g", "", "mount=/no/such/path", "memory=much", "shm=1.5g", "memory=0g",
])
def test_bad_settings(pair):
    with pytest.raises(ConfigError, match="--docker"):
        parse_container_settings([pair])


def test_a_variable_without_env_is_not_repeated():
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY") as caught:
        parse_container_settings(["AWS_SECRET_ACCESS_KEY=hunter2"])
    assert "hunter2" not in str(caught.value)


def test_a_credential_file_that_the_containers_cannot_read_is_told(tmp_path):
    file = tmp_path / "key.json"
    file.write_text("{}")
    file.chmod(0o600)
    uid, gid = file.stat().st_uid, file.stat().st_gid
    with pytest.raises(ConfigError, match=r"key\.json.*0600.*chgrp.*--docker user=.*environment variables"):
        check_readable([tmp_path, file], f"{uid + 1}:{gid}", 0)
    check_readable([file], f"{uid}:{gid}", uid)
    check_readable([file], "0:0", 1000)  # as an engine without root maps it
    check_readable([file], "somebody", 0)
    file.chmod(0o640)
    check_readable([file], f"{uid + 1}:{gid}", 0)
    with pytest.raises(ConfigError):
        check_readable([file], f"{uid + 1}:{gid + 1}", 0)
    file.chmod(0o604)
    check_readable([file], f"{uid + 1}:{gid + 1}", 0)


def test_the_runner_looks_at_credential_files_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "key.json").touch(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "key.json")
    request = RunRequest("retrain", "gs://b/shop", "t", "gs://b/root", "gs://b/registry", "", RunConfig(),
                         "docker", (f"user={os.getuid() + 1}:{os.getgid() + 1}",))
    with pytest.raises(ConfigError, match=r"key\.json"):
        runner_of(request)
    (tmp_path / "key.json").chmod(0o644)
    run = runner_of(request)
    assert tmp_path / "key.json" in run.keywords["readable"]


def test_files_of_the_caller_are_named_in_full(tmp_path, monkeypatch):
    (tmp_path / "key.json").touch()
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").touch()
    monkeypatch.chdir(tmp_path)
    environment, files = store_access({"GOOGLE_APPLICATION_CREDENTIALS": "key.json", "HOME": str(tmp_path),
                                       "AWS_CONFIG_FILE": "~/.aws/config"})
    assert environment == {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
                           "AWS_CONFIG_FILE": str(tmp_path / ".aws" / "config")}
    assert files == [tmp_path / "key.json", tmp_path / ".aws" / "config"]


def test_root_does_not_run_containers_as_root_unless_asked():
    assert user_of(ContainerSettings(), 0, 0) == "10001:0"
    assert user_of(ContainerSettings(), 1000, 100) == "1000:100"
    assert user_of(ContainerSettings(user="0:0"), 1000, 100) == "0:0"


def test_environment_holds_threads_and_what_was_asked_for():
    caller = {"OMP_NUM_THREADS": "3", "AWS_SECRET_ACCESS_KEY": "x", "A": "1"}
    assert environment_of(ContainerSettings(), caller) == {"OMP_NUM_THREADS": "3"}
    settings = ContainerSettings(environment=("A", "B=2=3", "OMP_NUM_THREADS=1"))
    assert environment_of(settings, caller) == {"OMP_NUM_THREADS": "1", "A": "1", "B": "2=3"}
    with pytest.raises(ConfigError, match="env=C"):
        environment_of(ContainerSettings(environment=("C",)), caller)


def test_the_dataset_is_read_only(tmp_path):
    data, registry = tmp_path / "data", tmp_path / "registry"
    data.mkdir()
    registry.mkdir()
    volumes = volumes_of(ContainerSettings(), [data, tmp_path / "none"], [registry])
    assert {path: entry["mode"] for path, entry in volumes.items()} == {str(data): "ro", str(registry): "rw"}


def test_group_may_write(tmp_path):
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / "f").touch(0o600)
    (tmp_path / "link").symlink_to("/proc/version")
    let_group_write(tmp_path)
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o770
    assert os.stat(tmp_path / "a" / "f").st_mode & 0o777 == 0o660


@pytest.fixture
def task(tmp_path):
    folder = tmp_path / "train"
    return Task(folder, {"checkpoint": tmp_path / "checkpoint"}, (folder / "out.json",))


def state(code, **more):
    return {"ExitCode": code, "OOMKilled": False, "Error": ""} | more


@pytest.mark.parametrize(("ended", "message"), [
    (state(0), "no output checkpoint"), (state(3), "exit code 3"), (state(139), "killed by SIGSEGV"),
    (state(137), "killed by SIGKILL"), (state(200), "exit code 200"), (state(255), "exit code 255"),
    (state(137, OOMKilled=True), "memory limit of 4g"),
    (state(127, Error="exec: no such file"), "no such file"),
])
def test_failures_say_what_happened(task, ended, message):
    text = failure(task, ended, "4g")
    assert message in text
    assert "Fix: " in text
    assert "step train" in text


def test_success_needs_the_outputs(task):
    task.outputs["checkpoint"].touch()
    assert failure(task, state(0), "") is None
    # A worker of the step may be killed for memory and the step recover.
    assert failure(task, state(0, OOMKilled=True), "1g") is None
    assert "memory of this machine" in failure(task, state(1, OOMKilled=True), "")


def test_no_engine_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    with pytest.raises(ConfigError, match="none answers"):
        engine.connect()


def test_no_permission_is_told():
    error = RuntimeError("Error while fetching server API version")
    error.__cause__ = PermissionError(13, "Permission denied")
    assert "group docker" in str(engine._unreachable(error))
    assert "systemctl" not in str(engine._unreachable(RuntimeError("bad certificate")))


def test_an_old_engine_is_told(monkeypatch):
    import docker

    class Old:
        def version(self):
            return {"ApiVersion": "1.39", "Version": "18.09"}

        def close(self):
            pass

    monkeypatch.setattr(docker, "from_env", Old)
    with pytest.raises(ConfigError, match=r"18\.09"):
        engine.connect()


def test_without_the_client_library_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ConfigError, match=r"relrec\[docker\]"):
        engine.connect()


def test_a_step_measures_its_memory_and_ends_on_sigterm(tmp_path):
    import json
    import subprocess
    import sys

    value = {"inputs": {}, "outputs": {"outputFile": str(tmp_path / "out.json")}}
    code = ("import os, signal, sys\nfrom components._step import run_step\n"
            "def step() -> None:\n    {}\nsys.exit(run_step(step, ['--executor-input', sys.argv[1]]))")
    root = Path(__file__).resolve().parents[2]

    def run(body):
        return subprocess.run([sys.executable, "-c", code.format(body), json.dumps(value)],
                              capture_output=True, text=True, cwd=root)

    done = run("pass")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("step, relrec ")
    assert json.loads((tmp_path / "usage.json").read_bytes())["peak_bytes"] > 1e6
    assert run("os.kill(os.getpid(), signal.SIGTERM)").returncode == 128 + signal.SIGTERM
