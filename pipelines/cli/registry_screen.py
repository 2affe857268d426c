"""What ``relrec registry`` shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_core.errors import ConfigError, RegistryError
from model_core.storage.pointer import Champion
from model_core.storage.registry import Registry
from model_core.storage.registry_gc import GcPlan
from pipelines.cli.connected import print_json, utc
from pipelines.cli.gate import show_checks

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def versions_json(registry: Registry) -> list[dict[str, Any]]:
    """All versions, oldest logical date first, as plain values."""
    champion = registry.champion()
    promoted = {entry.version for entry in registry.history()}
    return [_version(version, registry.version_info(version), champion, promoted)
            for version in registry.versions()]


def version_json(registry: Registry, version: str | None, num_entries: int) -> dict[str, Any]:
    """One version with its verdict, and the newest log entries, as plain values.

    Raises:
        RegistryError: No such version, or no champion and none named.
    """
    champion = registry.champion()
    if version is None:
        if champion is None:
            raise RegistryError("registry", "a champion", "none",
                                "name a version: relrec registry show VERSION")
        version = champion.version
    info = registry.version_info(version)
    log = registry.history()
    return {
        **_version(version, info, champion, {entry.version for entry in log}),
        "digest": info["digest"], "run_info": info["run_info"], "checks": info["verdict"].get("checks", []),
        "log": [asdict(entry) | {"promoted_at": _time(entry.promoted_at)}
                for entry in log[::-1][:num_entries]],
    }


def _version(
    version: str, info: Mapping[str, Any], champion: Champion | None, promoted: set[str]
) -> dict[str, Any]:
    if champion is not None and champion.version == version:
        state = "champion"
    elif version in promoted:
        state = "champion before"
    else:
        state = "not promoted"
    verdict = info["verdict"]
    return {
        "version": version, "state": state, "logical_date": info["logical_date"],
        "stored_at": _time(info["created_at"]), "model": verdict.get("model"),
        "gain": verdict.get("gain"), "champion_gain": verdict.get("champion_gain"),
        "failed": [check["name"] for check in verdict.get("checks", []) if not check["passed"]],
        "run": info["run_info"].get("run_name"), "reason": verdict.get("reason"),
    }


def show_versions(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """A table of ``versions_json``."""
    table = Table()
    for heading in ("version", "stored", "state", "vs champion", "vs baseline", "failed"):
        right = heading.startswith("vs ")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading == "version")
    for entry in found:
        state = entry["state"]
        table.add_row(
            entry["version"], _short(entry["stored_at"]),
            f"[green]{state}[/]" if state == "champion" else state,
            _gain(entry["champion_gain"]), _gain(entry["gain"]), ", ".join(entry["failed"]) or "–",
            style="bold" if state == "champion" else "")
    console.print(table)


def show_version(console: Console, found: Mapping[str, Any]) -> None:
    """What ``version_json`` says, for people."""
    console.print(f"[bold]{found['version']}[/]: {found['state']}")
    console.print(f"of {found['logical_date']}, stored {_short(found['stored_at'])}, "
                  f"run {escape(found['run'] or '–')}", soft_wrap=True)
    console.print(escape(found["reason"] or ""))
    if found["checks"]:
        show_checks(console, found["checks"])
    if found["log"]:
        table = Table(title="Champion pointer, newest first", title_justify="left")
        for heading in ("when", "version", "how", "who", "run", "why"):
            table.add_column(heading, overflow="fold", no_wrap=heading in ("version", "how"))
        for entry in found["log"]:
            table.add_row(_short(entry["promoted_at"]), entry["version"], entry["action"],
                          escape(entry["who"]) or "–", escape(entry["run"]) or "–", escape(entry["reason"]))
        console.print(table)


def tell_move(before: Champion | None, version: str, *, dry_run: bool, as_json: bool) -> None:
    """What became of the pointer, or would."""
    old = before.version if before else None
    if as_json:
        print_json({"champion": old if dry_run else version, "previous": old, "would_be": version,
                    "dry_run": dry_run})
    elif old == version:
        typer.echo(f"{version} is the champion already")
    else:
        typer.echo(f"champion {'would move' if dry_run else 'moved'} from {old or 'none'} to {version}")


def tell_gc(plan: GcPlan, *, now: int, dry_run: bool, as_json: bool) -> None:
    """What was removed, or would be."""
    if as_json:
        print_json({"dry_run": dry_run, "num_bytes": plan.num_bytes, "kept": dict(plan.kept),
                    "removed": [asdict(removal) for removal in plan.removals]})
        return
    for removal in plan.removals:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {removal.version} ({removal.why}, "
                   f"{(now - removal.created_at) / 86_400:.1f} days, {removal.num_bytes / 1e6:.1f} MB)")
    for version, why in plan.kept.items():
        typer.echo(f"kept {version} ({why})")
    typer.echo(f"{len(plan.removals)} {'to remove' if dry_run else 'removed'}, "
               f"{plan.num_bytes / 1e6:.1f} MB; {len(plan.kept)} kept")


def parse_age(text: str) -> int:
    """Seconds of an age such as ``30d``.

    Raises:
        ConfigError: It is none.

    Example:
        >>> parse_age("30d"), parse_age("12h"), parse_age("0")
        (2592000, 43200, 0)
    """
    match = re.fullmatch(r"(\d+)([dhms]?)", text.strip())
    if not match or not (match[2] or match[1] == "0"):
        raise ConfigError("--older-than", "an age such as 30d, 12h or 0", repr(text),
                          "pass a number with a unit")
    return int(match[1]) * _UNITS[match[2] or "s"]


def _time(seconds: int) -> str | None:
    return utc(datetime.fromtimestamp(seconds, UTC))


def _short(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z")[:16]


def _gain(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"
