"""Small folders of exported files, clean and messy."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from model_core.tables.init.options import InitOptions
from model_core.tables.init.proposal import Proposal, propose
from model_core.tables.init.reading import read_folder
from model_core.tables.init.workspace import open_workspace
from model_core.tables.init.writing import Written, write_dataset

START = datetime(2024, 1, 1, tzinfo=UTC)
NUM_USERS, NUM_ITEMS, NUM_EVENTS = 40, 25, 900


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ","
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def event_rows(seed: int = 0) -> list[tuple[str, str, datetime]]:
    """(user, item, time) over 100 days, in order of time; keys are words."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, 100 * 86_400, NUM_EVENTS))
    users, items = rng.integers(0, NUM_USERS, NUM_EVENTS), rng.integers(0, NUM_ITEMS, NUM_EVENTS)
    return [(f"u{user:03}", f"sku-{item}", START + timedelta(seconds=int(second)))
            for user, item, second in zip(users, items, seconds, strict=True)]


def write_shop(folder: Path, delimiter: str = ",") -> Path:
    """customers.csv, products.csv and purchases.csv with keys that are words."""
    rng = np.random.default_rng(1)
    write_csv(folder / "customers.csv", ["customer_id", "country", "age"],
              [(f"u{i:03}", "be" if i % 2 else "nl", int(rng.integers(18, 80))) for i in range(NUM_USERS)],
              delimiter)
    write_csv(folder / "products.csv", ["sku", "title", "price"],
              [(f"sku-{i}", f"thing {i}", round(float(rng.random()), 2)) for i in range(NUM_ITEMS)],
              delimiter)
    write_csv(folder / "purchases.csv", ["customer_id", "sku", "amount", "bought_at"],
              [(user, item, 1 + i % 3, f"{time:%Y-%m-%d %H:%M:%S}")
               for i, (user, item, time) in enumerate(event_rows())], delimiter)
    return folder


def proposal_of(folder: Path, scratch: Path, **options: object) -> Proposal:
    """The proposal alone."""
    fixed = InitOptions(**options)  # type: ignore[arg-type]
    with open_workspace(scratch) as workspace:
        return propose(workspace, folder, read_folder(workspace, folder, fixed), fixed)


def made(folder: Path, out: Path, **options: object) -> tuple[Proposal, Written]:
    """The proposal, written."""
    fixed = InitOptions(**options)  # type: ignore[arg-type]
    with open_workspace(out.parent) as workspace:
        proposal = propose(workspace, folder, read_folder(workspace, folder, fixed), fixed)
        return proposal, write_dataset(workspace, proposal, out)


def chosen(proposal: Proposal) -> Mapping[str, str]:
    """Subject to value."""
    return {choice.subject: choice.value for choice in proposal.choices}


def sureness(proposal: Proposal) -> Mapping[str, str]:
    """Subject to confidence."""
    return {choice.subject: choice.confidence for choice in proposal.choices}
