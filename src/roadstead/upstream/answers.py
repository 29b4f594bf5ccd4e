"""What an upstream's answer means, in our errors and for both HTTP clients.

Text from upstream goes into messages, since it says what its operator wants said, but only
a short and printable piece of it, and never a credential of ours that it repeats.
"""

import json
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from roadstead.errors import (
    InvalidReferenceError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
)
from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.secrecy import MASK, Secret

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10

# Of an error body; more of it is not read.
MAX_ERROR_BYTES = 16_384
_MAX_TEXT_LENGTH = 200
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0

_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")

_ERRORS: dict[int, type[UpstreamError]] = {
    HTTPStatus.UNAUTHORIZED: UpstreamUnauthorizedError,
    HTTPStatus.FORBIDDEN: UpstreamDeniedError,
    HTTPStatus.REQUEST_TIMEOUT: UpstreamTimeoutError,
    HTTPStatus.TOO_MANY_REQUESTS: UpstreamRateLimitedError,
}


def failure_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    upstream: str,
    now: float,
    hide: Iterable[Secret | None] = (),
    speaker: str = "",
) -> UpstreamError:
    """Turn an answer that is no success into the error that it stands for.

    ``now`` is the time in seconds since the epoch, to read a Retry-After that is a date;
    ``hide`` are the secrets that were sent and must not be seen in the message; ``speaker``
    names who answered, where it was not the registry itself.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind: type[UpstreamError] = UpstreamUnavailableError
    else:
        kind = _ERRORS.get(status, UpstreamProtocolError)
    said = _text_of(body)
    for secret in hide:
        said = _masked(said, secret)
    message = f"{speaker} answered {status}" if speaker else f"answered {status}"
    if said:
        message = f"{message}: {_cleaned(said)}"
    retry_after = parse_retry_after(headers.get("Retry-After"), now=now)
    return kind(message, upstream=upstream, status=status, retry_after_seconds=retry_after)


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Read Retry-After, seconds or a date, as seconds from ``now``; at most one day."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_SECONDS)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def parse_length(value: str | None) -> int | None:
    """Read a Content-Length; None where it is missing or no number."""
    if value is None or not (value.isascii() and value.isdecimal()) or len(value) > len(str(2**63)):
        return None
    return int(value)


def parse_content_range(value: str | None) -> tuple[int | None, int | None, int | None]:
    """Read a Content-Range as first byte, last byte and total; what is not told is None."""
    match = _CONTENT_RANGE.fullmatch(value) if value is not None else None
    if match is None:
        return None, None, None
    first, last, total = match.groups()
    return (
        None if first is None else int(first),
        None if last is None else int(last),
        None if total == "*" else int(total),
    )


def parse_digest(value: str | None) -> Digest | None:
    """Read a Docker-Content-Digest; None where it is missing or of no known kind."""
    try:
        return None if value is None else Digest.parse(value)
    except InvalidReferenceError:
        return None


def is_page(content_type: str | None) -> bool:
    """Say whether this is a web page: a captive portal, a sign-in form, a front end's error."""
    return mediatype.essence(content_type or "") in {"text/html", "application/xhtml+xml"}


def is_manifest(content_type: str | None) -> bool:
    """Say whether this is the type of a manifest, which no blob may have."""
    return mediatype.essence(content_type or "") in mediatype.MANIFESTS


def _text_of(body: bytes) -> str:
    """Take code and message of the API's error document; anything else is not worth showing."""
    try:
        error = json.loads(body)["errors"][0]
        words = [error.get("code"), error.get("message")]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return ""
    return ": ".join(word for word in words if isinstance(word, str) and word)


def _masked(text: str, secret: Secret | None) -> str:
    """Mask a secret, and the part of an Authorization header behind its scheme."""
    if secret is None:
        return text
    whole = secret.reveal()
    parts = filter(None, (whole, whole.partition(" ")[2]))
    for part in parts:
        text = text.replace(part, MASK)
    return text


def _cleaned(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in _QUERY.sub(r"\1", text))
    return plain if len(plain) <= _MAX_TEXT_LENGTH else f"{plain[:_MAX_TEXT_LENGTH]}..."
