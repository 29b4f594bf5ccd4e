"""Credentials out of text that is about to be shown: logs, health, debug pages.

The last line of defence, behind code that does not put them there: libraries log URLs and
headers of their own, and clients send query strings of their own.
"""

import re
from collections.abc import Mapping

from roadstead.secrecy import MASK

# Whole names of fields, and ends of names of query parameters, with a secret behind them: tokens
# of the registry token protocol; signatures of S3 (X-Amz-Signature), GCS (X-Goog-Signature),
# Azure (sig), CloudFront (Signature), Cloudflare (verify, used by Docker Hub).
_ENDING = (
    r"(?:signature|credential|token|jwt|password|passwd|secret|secretkey|accesskey"
    r"|apikey|api_key|sig|verify)"
)
_NAME = rf"(?<![\w-])[\w-]*{_ENDING}"
_HEADER = (
    r"(?:proxy-)?authorization|x-registry-(?:auth|config)|x-amz-security-token|(?:set-)?cookie"
)

_RULES = (
    # https://user:password@host/
    (re.compile(r"://[^/\s?#]*@"), f"://{MASK}@"),
    # Authorization: Bearer abc; 'authorization': b'Basic abc'
    (
        re.compile(rf"(?i)\b({_HEADER})(['\"]?\s*[:=]\s*b?['\"]?)(?:[a-z]+\s+)?[^\s'\",]+"),
        rf"\1\2{MASK}",
    ),
    # a scheme and its credentials without the header's name; not a challenge (Bearer realm=)
    (re.compile(r"(?i)\b(bearer|basic)(\s+)(?!realm=)[\w.~+/=-]+"), rf"\1\2{MASK}"),
    # ?token=abc&X-Amz-Signature=abc; password="a b"
    (
        re.compile(rf"(?i)({_NAME}=)(?:\"[^\"]*\"|'[^']*'|[^\s&'\",;]+)"),
        rf"\1{MASK}",
    ),
    # the same in JSON: {"token": "abc"}
    (
        re.compile(rf"(?i)(['\"][\w-]*{_ENDING}['\"]\s*:\s*b?)(?:\"[^\"]*\"|'[^']*')"),
        rf'\1"{MASK}"',
    ),
    # a JSON web token, wherever it stands
    (re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),
)
_FIELD = re.compile(rf"(?i)(?:{_HEADER}|[\w-]*{_ENDING})")
# Every rule needs one of these in the text, in lower case; looking for them costs less.
_MARKS = (
    *("@", "bearer", "basic", "authorization", "cookie", "x-registry-", "eyj", "token", "jwt"),
    *("secret", "password", "passwd", "signature", "credential", "key", "sig", "verify"),
)


def redact(text: str) -> str:
    """Return ``text`` with every credential in it masked."""
    lowered = text.lower()
    for mark in _MARKS:
        if mark in lowered:
            return _apply_rules(text)
    return text


def redact_value(name: str, value: object) -> object:
    """Return the value of the log field ``name`` with every credential in it masked.

    Numbers, booleans and None stay what they are; mappings and sequences keep their shape;
    anything else becomes text.
    """
    if value is None or isinstance(value, bool):
        return value
    if _FIELD.fullmatch(name.rpartition(".")[2]):
        return MASK
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value("", item) for item in value]
    return redact(str(value))


def _apply_rules(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
