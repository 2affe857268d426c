"""The ablation's Markdown: one table per dataset, every row beside the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

HEAD = """# Ablation

`python -m benchmarks.ablation` wrote this page. Each row changes some settings of the default preset and is
trained with the same seeds on the same rows. MAP at the task's k, whole catalogue, no mask; validation
figures are those of the best epoch and are therefore flattering. ± is the standard deviation over seeds; a
difference is paired by seed: mean of (row minus default) and its standard deviation. Seconds are of
processor time.
"""


def markdown(
    notes: Sequence[Mapping[str, Any]], rows: Mapping[str, tuple[str, Sequence[str]]], default: str,
    provenance: str, *, later: str | None = None,
) -> str:
    """The whole page.

    Args:
        notes: Finished runs.
        rows: Row to description and settings, in the order of the table.
        default: The row that others are compared with.
        provenance: Machine, date and commit, in a sentence.
        later: Name of the rows measured after validation; None where there are none.
    """
    common = [setting for setting in dict.fromkeys(notes[0]["settings"] if notes else ())
              if all(setting in note["settings"] for note in notes)]
    shared = "Settings of all rows: " + ", ".join(f"`{setting}`" for setting in common) + "."
    parts = [HEAD, provenance + (f" {shared}" if common else "")]
    for place in dict.fromkeys((note["dataset"], note["task"]) for note in notes):
        own = [note for note in notes if (note["dataset"], note["task"]) == place]
        parts.append(_table(place, own, rows, default, later))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(
    place: tuple[str, str], notes: Sequence[Mapping[str, Any]],
    rows: Mapping[str, tuple[str, Sequence[str]]], default: str, later: str | None,
) -> str:
    figures = {"val_map": "val"} | ({} if later is None else {"test_map": later})
    head = ["row", "change"]
    for name in figures.values():
        head += [f"{name} MAP", "difference"]
    head += ["best epoch", "seconds", "seeds"]
    lines = [f"## {place[0]}, {place[1]}", "", _locality(notes), "",
             "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    values = {figure: {(note["row"], note["seed"]): note[figure] for note in notes
                       if note["status"] == "done" and note.get(figure) is not None}
              for figure in figures}
    for row, (description, settings) in rows.items():
        own = [note for note in notes if note["row"] == row]
        if not own:
            continue
        change = description + "".join(f" `{setting}`" for setting in settings)
        if all(note["status"] != "done" for note in own):
            reason = own[0]["reason"].replace("|", "/")
            lines.append(f"| {row} | {change} | not possible: {reason} " + "| " * (len(head) - 3) + "|")
            continue
        done = [note for note in own if note["status"] == "done"]
        cells = [row, change]
        for figure in figures:
            known = values[figure]
            found = [value for (name, _), value in known.items() if name == row]
            paired = [value - known[default, seed] for (name, seed), value in known.items()
                      if name == row and (default, seed) in known]
            cells.append(_spread(found, "{:.4f}"))
            cells.append("" if row == default else _spread(paired, "{:+.4f}"))
        cells += [f"{np.mean([note['best_epoch'] for note in done]):.0f}",
                  f"{np.mean([note['cpu_s'] for note in done]):,.0f}",
                  ", ".join(str(note["seed"]) for note in done)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _locality(notes: Sequence[Mapping[str, Any]]) -> str:
    """How much of the validation targets lies in a user's own neighbourhood."""
    scores = next((note["locality"] for note in notes if note.get("locality")), None)
    if scores is None:
        return "Locality score: not known."
    shown = ", ".join(f"s_{k} = {scores[f's_{k}']:.3f}" for k in (1, 2, 3) if f"s_{k}" in scores)
    return f"Locality score on validation rows: {shown}."


def _spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation over seeds; the mean alone of one seed."""
    if not values:
        return "–"
    mean = form.format(np.mean(values))
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"
