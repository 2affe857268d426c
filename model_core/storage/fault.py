"""What can go wrong with a request, in words that are the same for every client library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A failed request in plain words.

    Attributes:
        found: What the store answered, without secrets.
        fix: What to do.
        transient: Whether it may pass.
        missing: Whether the object (not the bucket) is not there.
        conflict: Whether a precondition did not hold.
        stale_credentials: Whether new credentials may help.
    """

    found: str
    fix: str = "check the network and the store's status, then run the same command again"
    transient: bool = False
    missing: bool = False
    conflict: bool = False
    stale_credentials: bool = False


DAMAGED = Fault("a body whose checksum is wrong",
                "store the object again: what lies there, or what travels, is damaged", transient=True)


class Changed(Exception):
    """The object was replaced while it was read."""
