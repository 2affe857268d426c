"""Runs in the build: the source with its bytecode, and one command per step.

Usage: ``assemble.py ROLE ROLES.toml APP``. Uses the standard library only.
"""

import compileall
import sys
import tomllib
from pathlib import Path
from py_compile import PycInvalidationMode


def main(role: str, roles: Path, app: Path) -> None:
    """Write ``APP/bin/<step>`` for every step of the role and compile what lies in APP."""
    tables = tomllib.loads(roles.read_text(encoding="utf-8"))
    table = tables[role]
    steps = table.get("steps") or tables[table["like"]]["steps"]
    (app / "bin").mkdir()
    for step in steps:
        command = app / "bin" / step.replace("_", "-")
        # exec: Python becomes process 1 of the container and gets its signals.
        command.write_text(f'#!/bin/sh\nexec python3 -m components.{step} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    for path in (app, *app.rglob("*")):
        # Readable by any user, whatever the umask of the checkout was.
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    # A layer's file times say nothing about its content, so the bytecode is not checked against them.
    compileall.compile_dir(app, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
