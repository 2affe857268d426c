"""``make scan``: look for known vulnerabilities in the pinned packages of every image.

Exit code 0 only where every package was looked up and nothing was found; 1 where
something was found; 3 where the data could not be reached, which is not a pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.roles import read_roles

FOUND, NOT_SCANNED = 1, 3


@dataclass(frozen=True)
class Finding:
    """Outcome for one role.

    Attributes:
        scanned: Packages that were looked up.
        skipped: Packages that were not, with the reason.
        vulnerable: ``package version: identifiers``.
        error: Why nothing was scanned; empty where something was.
    """

    scanned: int
    skipped: Mapping[str, str]
    vulnerable: tuple[str, ...]
    error: str = ""

    @property
    def exit_code(self) -> int:
        if self.vulnerable:
            return FOUND
        return NOT_SCANNED if self.error or self.skipped or not self.scanned else 0


def read_audit(text: str, error: str) -> Finding:
    """What pip-audit's JSON says; an empty or foreign text is an error, never a pass."""
    try:
        entries = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = error.strip().splitlines()[-1:] or ["pip-audit said nothing"]
        return Finding(0, {}, (), last[0][:300])
    skipped = {entry["name"]: entry["skip_reason"] for entry in entries if "skip_reason" in entry}
    vulnerable = tuple(
        f"{entry['name']} {entry['version']}: {', '.join(each['id'] for each in entry['vulns'])}"
        for entry in entries if entry.get("vulns"))
    return Finding(len(entries) - len(skipped), skipped, vulnerable)


def audit(requirements: Path) -> Finding:
    """Run pip-audit on pinned requirements."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps",
             "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "20"],
            capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return Finding(0, {}, (), "pip-audit gave no answer within 600 s")
    return read_audit(done.stdout, done.stderr)


def main(roles: Sequence[str] = (), run: Callable[[Path], Finding] = audit) -> int:
    """Scan the named roles, or all; print one line each; return the worst exit code."""
    known = read_roles()
    codes = []
    for name in roles or known:
        finding = run(known[name].folder / "requirements.txt")
        codes.append(finding.exit_code)
        for line in finding.vulnerable:
            print(f"{name}: VULNERABLE {line}")
        if finding.exit_code == NOT_SCANNED:
            reason = finding.error or next(iter(finding.skipped.values()), "no packages")
            print(f"{name}: NOT SCANNED ({finding.scanned} looked up, {len(finding.skipped)} skipped): "
                  f"{reason}")
        else:
            print(f"{name}: {finding.scanned} packages looked up, {len(finding.vulnerable)} vulnerable")
    print("Debian packages and CUDA are not part of this scan; the SBOM in build/ lists them for a scanner.")
    return FOUND if FOUND in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
