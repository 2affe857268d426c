"""The command of now, as a person may run it again."""

from __future__ import annotations

import re
import shlex
import sys


def command_again() -> str:
    """This command with all its words, but for values that may be secrets.

    Example: ``relrec backfill retrain --token-command HIDDEN --task buy``
    """
    words, before = ["relrec"], ""
    for word in sys.argv[1:]:
        option, equals, value = word.partition("=")
        words.append(f"{option}={_shown(option, value)}" if equals and option in _HELD
                     else _shown(before, word))
        before = word
    return shlex.join(words)


#: Options whose values may hold secrets, and the part of a value that does.
_HELD = {"--token-command": re.compile(r"^().*", re.DOTALL),
         "--docker": re.compile(r"^(env=[^=]*=).*", re.DOTALL)}


def _shown(option: str, value: str) -> str:
    return _HELD[option].sub(r"\1HIDDEN", value, count=1) if option in _HELD else value
