"""Answers that are given again to requests that come again, byte for byte.

Machines that pull the same image send the same heads, and a head that was parsed once means the
same the next time. So the answer's own head is kept under the request's bytes, and what can have
changed is looked at each time: is the content still at hand, how old is the tag, is the mirror
well. docs/adr/0007 says why.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, web

from roadstead.errors import StorageError
from roadstead.server.requestid import new_request_id
from roadstead.telemetry import events
from roadstead.telemetry.answered import Exchange, ExchangeLog, LogAgain
from roadstead.telemetry.events import Kind

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
)


@dataclass(frozen=True, slots=True)
class Current:
    """What the answer is at this moment: its body, and header lines that differ each time."""

    body: bytes
    headers: str = ""


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
        log: LogAgain,
    ) -> None:
        """``response`` is the one that was sent; ``log`` logs an exchange like that one."""
        self._repeatable = precedent.repeatable
        self._method = precedent.exchange.method
        self._upstream = response.headers.get(UPSTREAM, "")
        self._repository = precedent.repository
        self._head = _static_head(response, precedent.repeatable.varying | {"Date"})
        self._observe = observe
        self._log = log
        self._sent_bytes = 0
        self.closes = not response.keep_alive

    def answer(self) -> bytes | None:
        """Return head and body; None if this request must be answered anew."""
        try:
            current = self._repeatable.current()
        except StorageError:
            return None
        if current is None:
            return None
        self._sent_bytes = len(current.body)
        moving = f"Date: {_http_date(int(time.time()))}\r\n{current.headers}\r\n".encode()
        return self._head + moving + current.body

    def report(self, peer: str, started: float) -> None:
        """Tell metrics and logs that ``peer`` got the last answer; ``started``: perf_counter."""
        seconds = time.perf_counter() - started
        kind, size = self._repeatable.kind, self._repeatable.size_bytes
        self._observe(
            events.Repeated(
                kind,
                self._method,
                size,
                self._sent_bytes,
                seconds,
                self._upstream,
                self._repository,
            )
        )
        self._log(peer, new_request_id(), seconds)


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
        log = self._report.again(precedent.exchange)
        self._known[head] = Repeat(precedent, response, observe=self._observe, log=log)


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
