"""Secrets kept out of what is printed: by name of the key, and inside URLs."""

import re

from roadstead.config.document import Plain, Value
from roadstead.secrecy import MASK

_LONGEST_SHOWN = 80

# Names of keys, headers and query parameters whose value is nobody's business. ``key`` alone
# is a path in distribution's schema (http.tls.key), so it counts only with company.
_SMELLS = re.compile(
    r"passw|secret|token|credential|authorization|cookie|apikey|api-key|api_key|accesskey|"
    r"access-key|accountkey|licensekey|privatekey|connectionstring|signature|x-amz-",
    re.IGNORECASE,
)
# Greedy on purpose: a password with an unescaped slash or @ is still a password.
_USERINFO = re.compile(r"(//)\S*@")
_MAYBE_USERINFO = re.compile(r"^((?:[A-Za-z]+://)?)\S*@")
_QUERY = re.compile(r"([?&])([^=&#\s]*)=[^&#\s]*")


def is_secret_name(name: str) -> bool:
    """Say whether a key of this name is likely to hold a secret."""
    return _SMELLS.search(name) is not None


def mask_url(text: str) -> str:
    """Blank the user information and the secret query parameters of any URL in ``text``."""
    return _QUERY.sub(_mask_parameter, _USERINFO.sub(rf"\1{MASK}@", text))


def mask_tree(value: Plain) -> Plain:
    """Blank what is secret, by name or by form, in a free-form value."""
    if isinstance(value, dict):
        return {
            key: MASK if is_secret_name(key) and item is not None else mask_tree(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [mask_tree(item) for item in value]
    return mask_url(value) if isinstance(value, str) else value


def describe(path: str, value: Value) -> str:
    """Show a value in a message: short, on one line, and masked."""
    if isinstance(value, dict):
        return "a section" if value else "an empty section"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    if is_secret_name(path):
        return MASK
    shown = _MAYBE_USERINFO.sub(rf"\1{MASK}@", mask_url(value))
    return repr(shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}...")


def _mask_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={MASK}" if is_secret_name(match[2]) else match[0]
