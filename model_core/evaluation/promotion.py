"""The gate's last rule, asked where the bundle is published: is it the model that was judged?

Needs neither torch nor pyarrow, because the image that publishes has neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from model_core.evaluation.record import Check, Verdict
from model_core.records import Record


def with_bundle(verdict: Verdict, bundle: Record, digests: Mapping[str, str]) -> Verdict:
    """The verdict with the check of the bundle added; without it nothing is promoted.

    The bundle must come from the weights, graph and split that were judged, and its
    manifest must say that the exported model was held against the trained one.

    Args:
        verdict: As evaluation wrote it.
        bundle: The bundle's record, every byte of which was checked.
        digests: Digests of evaluation's inputs, by name.
    """
    check = bundle_check(bundle, digests)
    reason = verdict.reason
    if verdict.promote and not check.passed:
        reason = (f"Not promoted: {reason.partition(': ')[2].rstrip('.')}. Failed: bundle (required "
                  f"{check.required}; found {check.found}).")
    return dataclasses.replace(verdict, promote=verdict.promote and check.passed, reason=reason,
                               checks=(*verdict.checks, check))


def bundle_check(bundle: Record, digests: Mapping[str, str]) -> Check:
    """Whether a bundle holds the judged model, proven to rank as it does."""
    parity, made_from = bundle.meta.get("parity") or {}, bundle.meta.get("digests") or {}
    foreign = [name for name in ("weights", "graph", "split")
               if name in digests and made_from.get(name) != digests[name]]
    users, largest = parity.get("num_users", 0), parity.get("largest_difference")
    tolerance = parity.get("tolerance")
    # The proof rounds the difference up to a power of ten.
    proven = users > 0 and largest is not None and tolerance is not None and largest <= 10 * tolerance
    required = "the judged model, proven to rank as it does in torch"
    if foreign:
        return Check("bundle", False, required, f"a bundle of another {foreign[0]} "
                                                f"({(made_from.get(foreign[0]) or 'not named')[:12]})")
    if not proven:
        return Check("bundle", False, required, f"no valid proof of parity ({dict(parity) or 'none'})")
    return Check("bundle", True, required,
                 f"{users:,} users compared, scores differ by {largest:g} at most")
