"""Byte ranges and validators of HTTP: pure functions (RFC 9110, sections 13 and 14)."""

from dataclasses import dataclass

# A longer list is answered with the whole blob, which every client accepts.
MAX_RANGES = 100


class RangeNotSatisfiableError(Exception):
    """No range of the header lies within the content: answer 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``first`` to ``last``, both inclusive."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes that are."""
        return self.last - self.first + 1

    def content_range(self, size: int) -> str:
        """Return the Content-Range value within content of ``size`` bytes."""
        return f"bytes {self.first}-{self.last}/{size}"


def parse_ranges(header: str, size: int) -> list[ByteRange] | None:
    """Read a Range header for content of ``size`` bytes; None means: send all of it.

    Ranges come back in the order asked and are never merged: podman's zstd:chunked wants as
    many parts as it asked for. What breaks the grammar is 416 as in Go's servers and the
    distribution-spec's conformance suite, although RFC 9110 would have it ignored.

    Raises:
        RangeNotSatisfiableError: nothing asked for exists.
    """
    unit, equals, spec = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    if not equals:
        raise RangeNotSatisfiableError
    parts = [part.strip() for part in spec.split(",")]
    if len(parts) > MAX_RANGES:
        return None
    ranges = [parsed for part in parts if part and (parsed := _parse_one(part, size)) is not None]
    if not ranges:
        raise RangeNotSatisfiableError
    if len(ranges) > 1 and sum(wanted.length for wanted in ranges) > size:
        return None
    return ranges


def _parse_one(part: str, size: int) -> ByteRange | None:
    first_text, hyphen, last_text = part.partition("-")
    if not hyphen or not _is_number_or_empty(first_text) or not _is_number_or_empty(last_text):
        raise RangeNotSatisfiableError
    if not first_text:
        if not last_text:
            raise RangeNotSatisfiableError
        length = min(int(last_text), size)
        return ByteRange(size - length, size - 1) if length else None
    first = int(first_text)
    if last_text and int(last_text) < first:
        raise RangeNotSatisfiableError
    if first >= size:
        return None
    return ByteRange(first, min(int(last_text), size - 1) if last_text else size - 1)


def _is_number_or_empty(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())


def matches_none_of(header: str | None, etag: str) -> bool:
    """Say whether If-None-Match lets a full answer through: False means 304.

    Compared weakly; a bare digest without quotes is understood too, as registry:2 does.
    """
    if header is None:
        return True
    candidates = [candidate.strip().removeprefix("W/") for candidate in header.split(",")]
    return not any(candidate in ("*", etag, etag.strip('"')) for candidate in candidates)


def if_range_holds(header: str | None, etag: str) -> bool:
    """Say whether If-Range allows a partial answer: absent, or strongly equal to ``etag``."""
    return header is None or header.strip() == etag
