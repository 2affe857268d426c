"""Messages without secrets."""

from __future__ import annotations

import re

#: Query parameters and header-like words whose value lets somebody in.
_SECRET_NAMES = (
    "x-goog-signature|x-goog-credential|x-goog-security-token|x-amz-signature|x-amz-credential|"
    "x-amz-security-token|x-amz-copy-source-server-side-encryption-customer-key|awsaccesskeyid|"
    "aws_access_key_id|aws_secret_access_key|aws_session_token|googleaccessid|signature|sig|"
    "upload_id|uploadid|access_token|refresh_token|id_token|client_secret|private_key|token|secret|"
    "password|key"
)
_RULES = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.S), "…"),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?)[^'\"\r\n]+"), r"\1…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}"), r"\1 …"),
    (re.compile(r"\bya29\.[\w.-]+"), "…"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "…"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "…"),
    (re.compile(rf"(?i)(?<![\w-])({_SECRET_NAMES})(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;)}}]+"), r"\1\2…"),
    (re.compile(r"(?i)(\w+://)[^/\s:@]+:[^/\s@]+@"), r"\1…@"),
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
