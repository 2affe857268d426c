"""Every image's requirements are a part of the one lock."""

import pytest

from images.roles import read_roles
from images.subsets import closure, read_lock, requirements
from model_core.errors import ConfigError

ROLES = read_roles()


def pins(text):
    return {line for line in text.splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize("role", ROLES.values(), ids=lambda role: role.name)
def test_files_are_up_to_date(role):
    assert (role.folder / "requirements.txt").read_text() == requirements(role), (
        "run python -m images.subsets")


@pytest.mark.parametrize("role", ROLES.values(), ids=lambda role: role.name)
def test_every_pin_is_that_of_the_lock(role):
    lock = set(read_lock().values())
    renamed = {f"{new}=={read_lock()[old].split('==')[1]}" for old, new in role.replace.items()}
    assert pins((role.folder / "requirements.txt").read_text()) <= lock | renamed | set(role.extra)


def test_what_images_must_not_hold():
    banned_in = {"serve": {"torch", "pandas", "pyarrow", "kfp"}, "cpu": {"kfp", "pytest", "docker"}}
    for name, banned in banned_in.items():
        held = {line.split("==")[0] for line in pins((ROLES[name].folder / "requirements.txt").read_text())}
        assert not held & banned


LOCK = {"a": "a==1", "b": "b==2", "c": "c==3", "d-e": "D_e==4"}
NEEDS = {
    "a": ["B>=1", "c; python_version < '3'", "d.e[fast]; sys_platform != 'never'", "x; extra == 'all'"],
    "b": None, "c": [], "d-e": ["c>=3; extra == 'fast'", "a"],
}


def test_closure_follows_markers_and_extras_and_ends_on_a_cycle():
    assert closure(["A"], LOCK, NEEDS.__getitem__) == ["a", "b", "c", "d-e"]
    assert closure(["b"], LOCK, NEEDS.__getitem__) == ["b"]
    assert closure(["d-e"], LOCK, {**NEEDS, "a": []}.__getitem__) == ["a", "d-e"]


def test_a_package_without_pin_is_refused_unless_passed_over():
    needs = {"a": ["nvidia-x"]}.__getitem__
    with pytest.raises(ConfigError, match="nvidia-x"):
        closure(["a"], LOCK, needs)
    assert closure(["a"], LOCK, needs, passed_over={"nvidia-x"}) == ["a"]
