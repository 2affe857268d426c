"""Sections from JSON and from the command line; what does not fit is told with what would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from model_core.config.sections import RunConfig, Section
from model_core.errors import ConfigError

SectionT = TypeVar("SectionT", bound=Section)


def parse_section(cls: type[SectionT], value: str | Mapping[str, Any], where: str = "") -> SectionT:
    """Build a section from JSON or a mapping.

    Raises:
        ConfigError: Not JSON, an unknown key (the valid ones are listed) or a bad value.
    """
    where = where or f"configuration ({cls.__name__})"
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError as error:
            raise ConfigError(where, "a JSON object", repr(value), f"correct it ({error})") from error
    if not isinstance(value, Mapping):
        raise ConfigError(where, "a JSON object", repr(value), "pass key/value pairs")
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            owner: Any = cls
            for part in first["loc"][:-1]:
                owner = owner.model_fields[part].annotation
            raise ConfigError(
                f"{where}, key {key!r}", f"one of {sorted(owner.model_fields)}", repr(first["loc"][-1]),
                "use a valid key",
            ) from error
        raise ConfigError(
            f"{where}, key {key!r}", _expected(first["msg"]), repr(first["input"]),
            "pass a valid value",
        ) from error


def _expected(message: str) -> str:
    """Pydantic's sentence as what follows "expected"."""
    message = message.removeprefix("Input should be ")
    return message[0].lower() + message[1:]


def parse_overrides(pairs: Sequence[str], base: RunConfig | None = None) -> RunConfig:
    """Apply ``section.key=value`` pairs, as given to ``--set``, to a configuration.

    Values are JSON where they parse as JSON, else plain strings.

    Example:
        >>> parse_overrides(["train.epochs=3", "model.item_vectors=lookup"]).train.epochs
        3

    Raises:
        ConfigError: A pair without ``=``, an unknown section or key, or a bad value.
    """
    tree: dict[str, Any] = (base or RunConfig()).model_dump(mode="json")
    for pair in pairs:
        path, separator, text = pair.partition("=")
        section, dot, key = path.strip().partition(".")
        if not separator or not dot:
            raise ConfigError(f"--set {pair}", "section.key=value", repr(pair),
                              "write for example --set train.epochs=3")
        if section not in tree:
            raise ConfigError(f"--set {pair}", f"a section among {sorted(tree)}", repr(section),
                              "use a valid section")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        tree[section][key] = value
    return parse_section(RunConfig, tree, "--set" if pairs else "configuration")
