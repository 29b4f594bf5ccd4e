"""Answers that are given again to requests that come again, byte for byte.

Machines that pull the same image send the same heads, and a head that was parsed once means the
same the next time. So the answer's own head is kept under the request's bytes, and what can have
changed is looked at each time: is the content still at hand, how old is the tag, is the mirror
well. docs/adr/0007 says why.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, web

from roadstead.errors import StorageError
from roadstead.mirror.content import HeldBlobReader
from roadstead.server.delivery import Delivery
from roadstead.server.requestid import new_request_id
from roadstead.telemetry import events
from roadstead.telemetry.answered import Exchange, ExchangeLog
from roadstead.telemetry.events import Kind, Outcome

UPSTREAM: Final = "X-Roadstead-Upstream"
"""Header that names the upstream of an answer."""

# Together about 20 MB when full.
_KNOWN_HEADS: Final = 4096
_LONGEST_HEAD: Final = 2048
# What makes an answer one of its own.
_CONDITIONS: Final = (
    "Authorization",
    "Cookie",
    "Expect",
    "If-None-Match",
    "If-Range",
    "Range",
    "Upgrade",
    # Another one with each request, which would fill the memory of those that come again.
    "traceparent",
)


@dataclass(frozen=True, slots=True)
class Current:
    """What the answer is at this moment: its body, and header lines that differ each time.

    With a ``reader`` the body is its file, and whoever takes the answer closes it.
    """

    body: bytes = b""
    headers: str = ""
    reader: HeldBlobReader | None = None


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What a handler says of an answer that may be given again.

    ``current`` waits for nothing, and returns None as soon as the content is not at hand or has
    become another one. ``varying`` names the headers that come from ``Current``.
    """

    kind: Kind
    size_bytes: int
    current: Callable[[], Current | None]
    varying: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Precedent:
    """An answer that may be given again, and what logs and metrics were told of it.

    ``repository`` is the stored name.
    """

    repeatable: Repeatable
    exchange: Exchange
    repository: str


PRECEDENT: Final = web.RequestKey("precedent", Precedent)
"""Where the app leaves the precedent on a request."""


class Repeat:
    """How to answer one known head."""

    def __init__(
        self,
        precedent: Precedent,
        response: web.StreamResponse,
        *,
        observe: events.Observer,
        report: ExchangeLog,
    ) -> None:
        """``response`` is the one that was sent; ``report`` writes the log lines."""
        self._repeatable = precedent.repeatable
        self._exchange = precedent.exchange
        self._method = precedent.exchange.method
        self._upstream = response.headers.get(UPSTREAM, "")
        self._repository = precedent.repository
        self._head = _static_head(response, precedent.repeatable.varying | {"Date"})
        self._observe = observe
        self._report = report
        self._log = report.again(precedent.exchange)
        self.closes = not response.keep_alive

    def current(self) -> Current | None:
        """Return what to answer now; None if this request must be answered anew."""
        try:
            return self._repeatable.current()
        except StorageError:
            return None

    def answer(self, current: Current) -> bytes:
        """Return the head, and the body unless that is a file."""
        moving = f"Date: {_http_date(int(time.time()))}\r\n{current.headers}\r\n".encode()
        return self._head + moving + current.body

    def report(self, peer: str, started: float, sent_bytes: int) -> None:
        """Tell metrics and logs that ``peer`` got an answer; ``started``: perf_counter."""
        seconds = time.perf_counter() - started
        kind, size = self._repeatable.kind, self._repeatable.size_bytes
        self._observe(
            events.Repeated(
                kind,
                self._method,
                size,
                sent_bytes,
                seconds,
                self._upstream,
                self._repository,
            )
        )
        self._log(peer, new_request_id(), seconds)

    def begin(self) -> None:
        """Tell metrics that a file is being sent; see ``end``."""
        self._observe(events.RequestStarted(self._repeatable.kind))

    def end(self, peer: str, started: float, delivery: Delivery) -> None:
        """Tell metrics and logs what ``peer`` got of a file."""
        seconds = time.perf_counter() - started
        kind, size, sent = self._repeatable.kind, self._repeatable.size_bytes, delivery.sent_bytes
        status = 0 if delivery.was_cancelled else self._exchange.status
        self._observe(events.CacheAsked(hit=True))
        self._observe(
            events.Served(kind, Outcome.HIT, size, sent, self._upstream, self._repository)
        )
        self._observe(events.RequestEnded(kind, self._method, status, seconds, 0, sent))
        if delivery.failure is None:
            self._log(peer, new_request_id(), seconds)
            return
        if delivery.failure.error:
            self._observe(events.RequestFailed(delivery.failure.error))
        exchange = replace(
            self._exchange,
            peer=peer,
            request_id=new_request_id(),
            status=status,
            written_bytes=sent,
            seconds=seconds,
            error_message=delivery.failure.text,
        )
        self._report(exchange)


class Repeats:
    """The heads that are known to one listener."""

    def __init__(
        self, *, may_answer: Callable[[], bool], observe: events.Observer, report: ExchangeLog
    ) -> None:
        self._may_answer = may_answer
        self._observe = observe
        self._report = report
        self._known: dict[bytes, Repeat] = {}

    def find(self, head: bytes) -> Repeat | None:
        """Return how to answer the bytes of one whole head, if they are known."""
        repeat = self._known.get(head)
        return repeat if repeat is not None and self._may_answer() else None

    def learn(self, head: bytes, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Remember how ``head`` was answered, if the app has left a precedent."""
        precedent = request.get(PRECEDENT)
        if precedent is None or len(head) > _LONGEST_HEAD or not self._may_answer():
            return
        if len(self._known) >= _KNOWN_HEADS:
            # The one learned first: if it is asked for again, it is learned again.
            del self._known[next(iter(self._known))]
        self._known[head] = Repeat(precedent, response, observe=self._observe, report=self._report)


def is_unconditional(request: web.BaseRequest) -> bool:
    """Say whether a request brings no condition, range or credential."""
    return request.version == HttpVersion11 and not any(
        name in request.headers for name in _CONDITIONS
    )


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _static_head(response: web.StreamResponse, varying: frozenset[str]) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name not in varying]
    return "".join(f"{line}\r\n" for line in lines).encode()
