"""Resources of steps: presets, files over presets, and what of it is in the compiled YAML."""

import pytest

from model_core.errors import ConfigError
from pipelines.compiling import STEPS, documents_of, pipeline_yaml
from pipelines.resources import PRESETS, Nodes, ResourceProfile, StepResources, Toleration, load_profile


def documents(profile):
    spec, *platform = documents_of(pipeline_yaml("retrain", resources=profile))
    executors = platform[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
    return spec, executors


def container(spec, step):
    return spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def test_a_laptop_asks_for_nothing():
    spec, executors = documents(PRESETS["laptop"])
    assert executors == {}
    for executor in spec["deploymentSpec"]["executors"].values():
        assert "resources" not in executor["container"]
    for task in spec["root"]["dag"]["tasks"].values():
        assert "retryPolicy" not in task


def test_everything_a_step_can_be_given_is_in_the_yaml():
    given = StepResources(
        cpu=3, memory_gb=5.5, gpus=2, gpu_type="amd.com/gpu", shm_gb=1.5, spot=True, retries=4, backoff_s=7,
        timeout_h=1.5, secret_env={"s3": {"id": "AWS_ACCESS_KEY_ID"}},
        nodes=Nodes(node_selector={"zone": "b"},
                                   tolerations=(Toleration(key="team", value="ml", effect="NoExecute"),)))
    profile = ResourceProfile(
        steps={"train": given},
        gpu_nodes=Nodes(tolerations=(Toleration(key="amd.com/gpu", operator="Exists"),)),
        spot_nodes=Nodes(node_selector={"capacity": "spot"}))
    spec, executors = documents(profile)
    resources = container(spec, "train")["resources"]
    assert resources["resourceCpuRequest"] == resources["resourceCpuLimit"] == "3000m"
    assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"] == "5500M"
    assert resources["accelerator"]["resourceType"] == "amd.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert spec["root"]["dag"]["tasks"]["train"]["retryPolicy"] == {
        "maxRetryCount": 4, "backoffDuration": "7s", "backoffFactor": 2.0,
        # The backend takes it as the period in which attempts may start: five of 1.5 h, and pauses.
        "backoffMaxDuration": f"{5 * 5400 + 7 * 2**4}s"}
    found = executors["exec-train"]
    assert found["emptyDirMounts"] == [
        {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "1500M"}]
    assert found["activeDeadlineSeconds"] == "5400"
    (secret,) = found["secretAsEnv"]
    assert secret["keyToEnv"] == [{"secretKey": "id", "envVar": "AWS_ACCESS_KEY_ID"}]
    assert found["nodeSelector"]["labels"] == {"zone": "b", "capacity": "spot"}
    assert found["tolerations"] == [
        {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoExecute"},
        {"key": "amd.com/gpu", "operator": "Exists"}]
    assert executors.keys() == {"exec-train"}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_compile_and_differ_from_the_local_yaml_in_resources_alone(name):
    spec, _ = documents(PRESETS[name])
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"].pop("resources", None)
    for task in spec["root"]["dag"]["tasks"].values():
        task.pop("retryPolicy", None)
    assert spec == documents(PRESETS["laptop"])[0]


def test_only_steps_with_a_gpu_tolerate_its_taint():
    profile = PRESETS["large_gpu"]
    gpu = {step for step in STEPS if profile.of(step).gpus}
    assert gpu == {"train", "evaluate"}
    for step in STEPS:
        keys = {entry.key for entry in profile.of(step).nodes.tolerations}
        assert ("nvidia.com/gpu" in keys) == (step in gpu), step


def write(tmp_path, text):
    path = tmp_path / "resources.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_changes_only_what_it_names(tmp_path):
    text = """
        preset: small_gpu
        every_step: {memory_gb: 12}
        steps:
          train: {memory_gb: 48, spot: false}
        spot_nodes:
          node_selector: {karpenter.sh/capacity-type: spot}
    """
    profile, base = load_profile(write(tmp_path, text), STEPS), PRESETS["small_gpu"]
    train, evaluate, split = (profile.of(step) for step in ("train", "evaluate", "temporal_split"))
    assert (train.memory_gb, train.spot, train.cpu) == (48, False, base.of("train").cpu)
    assert train.nodes.node_selector == {}
    assert (evaluate.memory_gb, evaluate.spot) == (12, True)
    assert evaluate.nodes.node_selector == {"karpenter.sh/capacity-type": "spot"}
    assert (split.memory_gb, split.retries) == (12, base.of("temporal_split").retries)
    assert profile.gpu_nodes == base.gpu_nodes
    assert load_profile(write(tmp_path, ""), STEPS).of("train") == StepResources()


@pytest.mark.parametrize(("text", "message"), [
    ("preset: big", "key 'preset': expected one of ['cpu', 'laptop', 'large_gpu', 'small_gpu'], found 'big'"),
    ("steps: {trian: {cpu: 1}}", "key 'steps': expected one of ['ingest'"),
    ("steps: {train: {cpus: 1}}", "step 'train', key 'cpus': expected one of ['backoff_s', 'cpu'"),
    ("gpu_nodes: {tolerations: [{key: a, operator: Exists, value: b}]}", "no value"),
    ("steps: {train: 4}", "step 'train': expected keys and values, found 4"),
    ("steps: [train]", "key 'steps': expected keys and values, found ['train']"),
    ("nodes: {}", "key 'nodes': expected one of"),
    ("- 1", "expected keys and values, found list"),
    ("{", "expected YAML, found"),
    ("preset: [a]", "key 'preset': expected one of"),
    ("steps: {train: {timeout_h: 0.0001}}", "key 'timeout_h'"),
    ("steps: {train: {retries: 3000000000}}", "key 'retries'"),
    ("gpu_nodes: {tolerations: [{key: a, operator: Exists, value: b}]}", "no value beside"),
    ("spot_nodes: {tolerations: [{value: b}]}", "a key beside operator Equal"),
])
def test_bad_files(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        load_profile(write(tmp_path, text), STEPS)
    assert message in str(error.value)


def test_neither_preset_nor_file():
    with pytest.raises(ConfigError, match=r"expected one of .*small_gpu.* or a YAML file, found 'huge'"):
        load_profile("huge", STEPS)


def test_a_step_without_timeout_may_be_tried_again_for_days():
    assert StepResources(retries=1).retry_period_s > 5 * 86_400


@pytest.mark.parametrize(("cpu", "memory"), [(0.01, 0.01), (1_000, 100_000), (1.2345, 7.7777)])
def test_odd_amounts_compile(cpu, memory):
    spec, _ = documents(ResourceProfile(steps={"train": StepResources(cpu=cpu, memory_gb=memory)}))
    assert container(spec, "train")["resources"]["resourceCpuLimit"] == f"{round(cpu * 1000)}m"
