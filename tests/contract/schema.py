"""Request bodies held against kfp-server-api's own models, as strictly as the server's protobuf does."""

import json
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import kfp_server_api
from kfp_server_api import models

_API = kfp_server_api.ApiClient()
#: int64 of the protocol: strings in the models, numbers or strings in JSON.
_INT64 = {"max_concurrency", "interval_second"}


class BadRequest(Exception):
    """The body does not fit the model."""


def parse(body: bytes, kind: str) -> Any:
    """A model from JSON; refuses unknown keys, values of another type, and unknown enum values."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"invalid JSON: {error}") from error
    _check(content, kind, kind)
    try:
        model = _API.deserialize(SimpleNamespace(data=json.dumps(content)), kind)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return model


def dump(model: Any) -> Any:
    """JSON of a model, made by the generated client."""
    return _API.sanitize_for_serialization(model)


def _check(value: Any, kind: str, where: str) -> None:
    if value is None:
        return
    if kind.startswith("list["):
        _demand(isinstance(value, list), where, "a list")
        for index, entry in enumerate(value):
            _check(entry, kind[5:-1], f"{where}[{index}]")
    elif kind.startswith("dict("):
        _demand(isinstance(value, dict), where, "an object")
        for key, entry in value.items():
            _check(entry, kind[5:-1].split(", ")[1], f"{where}.{key}")
    elif kind == "str":
        numeric = where.rpartition(".")[2] in _INT64 and isinstance(value, int)
        _demand(isinstance(value, str) or numeric, where, "a string")
    elif kind == "bool":
        _demand(isinstance(value, bool), where, "a boolean")
    elif kind == "int":
        _demand(isinstance(value, int) and not isinstance(value, bool), where, "an integer")
    elif kind == "datetime":
        _demand(isinstance(value, str), where, "an RFC 3339 time")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise BadRequest(f"{where}: {error}") from error
        _demand(moment.tzinfo is not None, where, "a time with a zone")
    elif kind != "object":
        _check_model(value, getattr(models, kind), where)


def _check_model(value: Any, model: Any, where: str) -> None:
    if not model.openapi_types:  # an enum
        _demand(value in model.allowable_values, where, f"one of {model.allowable_values}")
        return
    _demand(isinstance(value, dict), where, "an object")
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for key, entry in value.items():
        _demand(key in types, f"{where}.{key}", "a known field")
        _check(entry, types[key], f"{where}.{key}")


def _demand(holds: bool, where: str, expected: str) -> None:
    if not holds:
        raise BadRequest(f"{where}: expected {expected}")
