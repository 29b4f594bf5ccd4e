"""The catalogue of misbehaviour: each fault changes a reply that would have been right.

A fault is any callable that takes the request and the reply and changes the reply. Those here
play what facts/failures.md and the trackers of other mirrors report. Several can act on one
request, in the order in which they were injected.
"""

import asyncio
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

from roadstead.oci import mediatype
from roadstead.simulator.content import CorruptedContent
from roadstead.simulator.wire import Framing, HttpRequest, Reply


class RequestKind(StrEnum):
    """What a request asks for."""

    PING = "ping"
    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"
    TOKEN = "token"  # noqa: S105 - the name of a kind of request
    STORAGE = "storage"
    OTHER = "other"


class Fault(Protocol):
    """Changes one reply."""

    def __call__(self, request: HttpRequest, reply: Reply, /) -> None:
        """Make ``reply`` worse."""


class SignsUrls(Protocol):
    """A storage host that redirects can lead to; ScriptedRegistry is one."""

    def sign(self, reply: Reply, *, uses: int | None, relative: bool = False) -> str:
        """Return a signed address, absolute unless ``relative``, for the content of ``reply``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """Which requests a fault is for; what is None does not matter.

    ``min_body_bytes`` is about the answer, which ``match`` does not see.
    """

    kind: RequestKind | None = None
    method: str | None = None
    repository: str | None = None
    reference: str | None = None
    min_body_bytes: int = 0

    def match(self, request: HttpRequest, kind: RequestKind, names: tuple[str, str]) -> bool:
        """Compare with a request for ``names``: its repository and reference."""
        repository, reference = names
        pairs = (
            (self.kind, kind),
            (self.method, request.method),
            (self.repository, repository),
            (self.reference, reference),
        )
        return all(wanted is None or wanted == actual for wanted, actual in pairs)


@dataclass(slots=True)
class Injection:
    """A fault in place: it skips the first ``skip`` matching requests, then acts on ``times``.

    ``label`` is what the records of requests call it; an empty one is not mentioned.
    """

    fault: Fault
    criteria: Criteria
    skip: int
    times: int | None
    label: str = ""
    used: int = 0

    def due(self) -> bool:
        """Count a matching request; whether the fault acts on it."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.used >= self.times:
            return False
        self.used += 1
        return True


@dataclass(frozen=True, slots=True)
class Status:
    """Another status, with the API's JSON error or with a body of one's own."""

    status: int
    code: str = "UNKNOWN"
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Replace the whole reply."""
        document = {"errors": [{"code": self.code, "message": self.message}]}
        reply.status, reply.headers = self.status, list(self.headers.items())
        reply.fill(json.dumps(document).encode() if self.body is None else self.body, "")
        reply.set("Content-Type", self.content_type)


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers put in place of the right ones, or left out."""

    put: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Change the headers only."""
        for name in self.drop:
            reply.drop(name)
        for name, value in self.put.items():
            reply.set(name, value)


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends after that many bytes of the body, by FIN or by RST."""

    after: int
    reset: bool = False

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Cut the body, unless it is shorter than that."""
        if self.after <= reply.length:
            reply.cut_after, reply.reset = self.after, self.reset


@dataclass(frozen=True, slots=True)
class HangUp:
    """The connection ends in place of an answer, by FIN or by RST."""

    reset: bool = False

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Send nothing at all."""
        reply.hang_up_before_headers, reply.reset = True, self.reset


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence: before the headers (``after`` is None) or after that many bytes of the body."""

    after: int | None = None
    release: asyncio.Event | None = None

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Stall until released, or for ever."""
        reply.stall_after, reply.release = self.after, self.release
        reply.stall_before_headers = self.after is None


@dataclass(frozen=True, slots=True)
class Slow:
    """Latency before the answer, and a limit on the speed of its body."""

    latency_seconds: float = 0.0
    bytes_per_second: float | None = None

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Slow the reply down; what another fault has set, and this one does not, stays."""
        reply.latency_seconds = self.latency_seconds or reply.latency_seconds
        reply.bytes_per_second = self.bytes_per_second or reply.bytes_per_second


@dataclass(frozen=True, slots=True)
class Unsized:
    """No Content-Length: a chunked body, or one that ends with the connection."""

    chunked: bool = False

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Frame the body another way; a HEAD just lacks the header."""
        reply.framing = Framing.CHUNKED if self.chunked else Framing.CLOSE


@dataclass(frozen=True, slots=True)
class WrongBytes:
    """One byte of the content is another: at ``position``, else the last one."""

    position: int | None = None

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Corrupt the content."""
        position = reply.content.size_bytes - 1 if self.position is None else self.position
        reply.content = CorruptedContent(reply.content, position)


@dataclass(frozen=True, slots=True)
class Substitute:
    """Other content in place of the right one, under the same headers; also a longer body."""

    content: bytes
    content_type: str = mediatype.OCTET_STREAM

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Replace the body and its type."""
        reply.fill(self.content, self.content_type)


@dataclass(frozen=True, slots=True)
class Html:
    """A web page with status 200, as captive portals and some front ends send."""

    page: bytes = b"<!DOCTYPE html><html><body>Please sign in</body></html>"

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Replace the whole reply by a page."""
        reply.status, reply.headers = HTTPStatus.OK, []
        reply.fill(self.page, "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Gzipped:
    """A body compressed although identity was asked for (registry.access.redhat.com)."""

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Compress what would have been sent."""
        plain = reply.content.read(reply.start, reply.length)
        reply.fill(gzip.compress(plain), reply.get("Content-Type") or mediatype.OCTET_STREAM)
        reply.set("Content-Encoding", "gzip")


@dataclass(frozen=True, slots=True)
class WithoutRange:
    """The whole content with status 200, whatever range was asked for."""

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Send everything."""
        reply.status, reply.start, reply.length = HTTPStatus.OK, 0, reply.content.size_bytes
        reply.drop("Content-Range")
        reply.drop("Accept-Ranges")


@dataclass(frozen=True, slots=True)
class LyingRange:
    """A 206 whose bytes begin ``shift`` bytes from where they were asked; it may admit it."""

    shift: int
    admit: bool = True

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Move the range; a lie that is not admitted keeps the header that was right."""
        if reply.status != HTTPStatus.PARTIAL_CONTENT:
            return
        size = reply.content.size_bytes
        reply.start += self.shift
        reply.length = min(reply.length, size - reply.start)
        if self.admit:
            last = reply.start + reply.length - 1
            reply.set("Content-Range", f"bytes {reply.start}-{last}/{size}")


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to ``location`` as it stands: absolute, relative, a loop, a web page."""

    location: str
    status: int = HTTPStatus.TEMPORARY_REDIRECT

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Replace the reply."""
        reply.status, reply.headers, reply.length = self.status, [("Location", self.location)], 0


@dataclass(frozen=True, slots=True)
class RedirectToStorage:
    """A redirect to a signed address, good for ``uses`` requests.

    ``relative`` writes a Location without a host: the storage is the registry itself (gcr.io).
    """

    storage: SignsUrls
    uses: int | None = None
    status: int = HTTPStatus.TEMPORARY_REDIRECT
    relative: bool = False

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Sign the content of the reply and point there; errors stay as they are."""
        if reply.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return
        location = self.storage.sign(reply, uses=self.uses, relative=self.relative)
        Redirect(location, self.status)(request, reply)
