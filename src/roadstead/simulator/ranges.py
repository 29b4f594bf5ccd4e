"""Byte ranges as a well-behaved registry serves them: one range at a time (RFC 9110, 14)."""

import re
from http import HTTPStatus

from roadstead.simulator.content import Content
from roadstead.simulator.wire import Reply

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def apply_range(reply: Reply, content: Content, header: str | None) -> None:
    """Fill ``reply`` with the part of ``content`` that a Range header asks for.

    Several ranges, or none that can be read, give the whole content.
    """
    size = content.size_bytes
    reply.content, reply.start, reply.length = content, 0, size
    reply.set("Accept-Ranges", "bytes")
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or match.group(0) == "bytes=-":
        return
    first, last = match.group(1), match.group(2)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        reply.status, reply.start, reply.length = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
        reply.set("Content-Range", f"bytes */{size}")
        return
    reply.status, reply.start, reply.length = HTTPStatus.PARTIAL_CONTENT, start, stop - start
    reply.set("Content-Range", f"bytes {start}-{stop - 1}/{size}")
