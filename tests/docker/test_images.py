"""The images hold what they should, and nothing else."""

import json
import signal
from pathlib import Path

import pytest

from images.build import MAX_FIRST_LINE_S, ROOT
from images.roles import read_roles

ROLES = [name for name in read_roles() if name != "gpu"]


@pytest.mark.parametrize("name", ROLES)
def test_size_and_start(name, record):
    entry = record["images"][name]
    assert entry["size_mb"] <= read_roles()[name].max_mb
    assert entry["first_line_s"] <= MAX_FIRST_LINE_S


@pytest.mark.parametrize("name", ROLES)
def test_configuration(name, record, client):
    image = client.images.get(record["images"][name]["name"])
    config = image.attrs["Config"]
    assert config["User"] == "10001:0"
    assert not config["Entrypoint"]  # KFP's command would be appended to it
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == record["version"]
    assert labels["org.opencontainers.image.revision"] == record["revision"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert not [key for key in environment if any(word in key for word in ("TOKEN", "SECRET", "PASSWORD"))]
    for layer in image.history():
        assert "BEGIN" not in layer["CreatedBy"]


@pytest.mark.parametrize("name", ROLES)
def test_nothing_is_left_of_the_build(name, run_in):
    found = run_in(name, """
        for tool in gcc cc g++ clang ld make cargo git; do command -v $tool && echo "tool $tool"; done
        python3 -c 'import pip' 2>/dev/null && echo 'pip in the environment'
        ls -d /root/.cache /tmp/* /wheels/* /opt/tools /run/secrets/* 2>/dev/null
        find / -xdev \\( -name 'id_rsa*' -o -name '.netrc' -o -name 'pip.conf' -o -name '*.whl' \\) \
            -not -path '*/python-wheels/*' -not -path '*/ensurepip/*' 2>/dev/null
        true
    """)
    assert found.strip() == ""


@pytest.mark.parametrize(("role", "user"), [("cpu", "10001:0"), ("cpu", "54321:0"), ("serve", "54321:0")])
def test_every_step_has_help_for_any_user(role, user, run_in):
    steps = [step.replace("_", "-") for step in read_roles()[role].steps]
    output = run_in(role, "; ".join(f"{step} --help || echo FAILED {step}" for step in steps), user)
    assert "FAILED" not in output
    for step in steps:
        assert f"usage: {step} " in output


def test_a_step_runs_without_kubeflow(record, client, demo_dataset, tmp_path):
    from model_core.tables.demo import DEMO_TASK

    tmp_path.chmod(0o777)
    mounts = {str(demo_dataset): {"bind": "/data", "mode": "ro"},
              str(tmp_path): {"bind": "/out", "mode": "rw"}}
    for command in (
        f"ingest --dataset /data --task {DEMO_TASK} --snapshot /out/snapshot --profile /out/profile.html",
        "temporal-split --snapshot /out/snapshot --split /out/split",
    ):
        client.containers.run(record["images"]["cpu"]["name"], command, remove=True, read_only=True,
                              network_mode="none", tmpfs={"/tmp": ""}, cap_drop=["ALL"], volumes=mounts)
    assert json.loads((tmp_path / "split" / "manifest.json").read_bytes())["kind"] == "split"


def test_serve_has_no_torch_and_scores_with_onnxruntime(run_in):
    said = run_in("serve", "python3 -c 'import torch' 2>&1 || true")
    assert said.strip().endswith("No module named 'torch'")
    code = "import onnxruntime, model_core.serving.recommend; print(onnxruntime.get_available_providers())"
    assert "CPUExecutionProvider" in run_in("serve", f'python3 -c "{code}"')


def test_cpu_keeps_what_loader_workers_need(run_in):
    code = ("import torch, pathlib; assert torch.version.cuda is None; "
            "print((pathlib.Path(torch.__file__).parent / 'bin/torch_shm_manager').is_file())")
    assert run_in("cpu", f'python3 -c "{code}"').strip() == "True"


@pytest.mark.parametrize("name", ROLES)
def test_sbom_lists_every_pin_and_the_distribution(name, record):
    bom = json.loads((ROOT / record["images"][name]["sbom"]).read_bytes())
    assert bom["bomFormat"] == "CycloneDX"
    known = {(entry["name"].lower().replace("_", "-").replace(".", "-"), entry["version"].split("+")[0])
             for entry in bom["components"]}
    for line in (Path(read_roles()[name].folder) / "requirements.txt").read_text().splitlines():
        if "==" in line and not line.startswith("#"):
            package, version = line.split("==")
            assert (package.lower().replace("_", "-").replace(".", "-"), version) in known, line
    assert any(entry.get("purl", "").startswith("pkg:deb/") and entry["name"] == "libc6"
               for entry in bom["components"])


def test_sigterm_reaches_the_step(record, client):
    code = ("import sys, time\nfrom components._step import run_step\n"
            "def wait() -> None:\n    print('waiting', flush=True)\n    time.sleep(60)\n"
            "sys.exit(run_step(wait, []))")
    container = client.containers.run(record["images"]["cpu"]["name"], ["python3", "-c", code],
                                      detach=True, network_mode="none")
    try:
        said = b""
        for chunk in container.logs(stream=True):
            said += chunk
            if b"waiting" in said:
                break
        container.kill(signal.SIGTERM)
        assert container.wait(timeout=20)["StatusCode"] == 128 + signal.SIGTERM
    finally:
        container.remove(force=True)
