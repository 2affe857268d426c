"""Messages without secrets."""

from __future__ import annotations

import re

#: Query parameters and header-like words whose value lets somebody in; words may stand before them
#: (``sas_token``, ``X-Goog-Signature``).
_SECRET_NAMES = (
    r"(?:[\w-]*[_-])?(?:token|secret|password|passwd|pwd|credential|signature|sig|key|access_key_id|"
    r"upload_id)|awsaccesskeyid|googleaccessid|uploadid|accountkey|sharedaccess(?:key|signature)|apikey|"
    r"accesstoken|refreshtoken|clientsecret"
)
#: Those that are secret in a text without a sign between name and value, too.
_SETTINGS = r"aws_(?:secret_access_key|session_token|access_key_id)|(?:\w+_)?account_key|sas_token"
_RULES = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.S), "…"),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?)[^'\"\r\n]+"), r"\1…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}"), r"\1 …"),
    (re.compile(r"\bya29\.[\w.-]+"), "…"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "…"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "…"),
    # A quoted value goes to its closing quote, whatever is in it.
    *((re.compile(rf"(?i)(?<![\w-])({_SECRET_NAMES})(\\?['\"]?\s*[=:]\s*\\?{quote})(?:\\.|[^{quote}\\])+",
                  re.S), r"\1\2…") for quote in "'\""),
    (re.compile(rf"(?i)(?<![\w-])({_SECRET_NAMES})(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;)}}]+"), r"\1\2…"),
    # "… is not set" is no value: one is long, or has a digit or sign in it.
    (re.compile(rf"(?i)(?<![\w-])({_SETTINGS})(\s+['\"]?)(?:(?=\S*[0-9/+=])\S+|\S{{16,}})"), r"\1\2…"),
    (re.compile(r"(?i)(\w+://)[^/\s'\"]+@"), r"\1…@"),
)


def redact(text: str, longest: int = 300) -> str:
    """A text without tokens, keys, signatures and upload sessions, on one line.

    Example:
        >>> redact("GET https://h/o?X-Goog-Signature=abc&alt=media Authorization: Bearer ya29.x")
        'GET https://h/o?X-Goog-Signature=…&alt=media Authorization: …'
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[:longest - 1] + "…"
