"""Lists of the API: filters, and all pages of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.targets.kubeflow.client import Client, talking

#: The server gives at most this many at once.
LARGEST_PAGE = 200


def predicates(**equal: str) -> str:
    """A filter: every field equals its text. The server compares without regard to case.

    Example:
        >>> predicates(display_name="nightly")
        '{"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": "nightly"}]}'
    """
    return json.dumps({"predicates": [
        {"operation": "EQUALS", "key": key, "stringValue": value} for key, value in equal.items()]})


def pages(
    client: Client, list_page: Callable[..., Any], field: str, *, page_size: int | None = None, **query: Any
) -> Iterator[Any]:
    """Everything that a list holds, page after page.

    Args:
        client: Connected client.
        list_page: Method of the client that takes ``page_token`` and ``page_size``.
        field: Where the answer holds its entries.
        page_size: Entries per request; by default as many as the server gives.
        query: What else the method takes.
    """
    token = ""
    while True:
        with talking(client):
            answer = list_page(page_token=token, page_size=page_size or LARGEST_PAGE, **query)
        yield from getattr(answer, field) or ()
        token = answer.next_page_token or ""
        if not token:
            return
