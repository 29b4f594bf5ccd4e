"""One connection: known requests are answered at once, all others by aiohttp.

aiohttp's handler of a connection is made when the first request comes that it is needed for.
While every read of the socket has brought exactly one whole head without a body, and every
answer is out, the connection stands between two requests: then, and only then, a head may be
answered here. After anything else (a head in two pieces, two heads in one, a body) the
connection is aiohttp's for good.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import perf_counter
from typing import Final, TypeAlias, cast

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from roadstead.mirror.content import HeldBlobReader
from roadstead.oci.errorcode import ErrorCode
from roadstead.server.access.gate import peer_of
from roadstead.server.access.networks import Address, client_address
from roadstead.server.delivery import Delivery
from roadstead.server.errors import ErrorResponse
from roadstead.server.limits import Guard
from roadstead.server.repeats import Repeat, Repeats

_log = logging.getLogger("roadstead.server")

RequestHandler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_END: Final = b"\r\n\r\n"
# A path of 512, and a query with room for encoded values.
_LONGEST_LINE: Final = 8190
# Long enough for a client's bucket to have something in it again.
_RETRY_AFTER: Final = "1"
# aiohttp does not see what is answered here, so it must not judge which connection is idle.
_NEVER_SECONDS: Final = 1e9
_MOMENT_SECONDS: Final = 0.01


class Connection(asyncio.Protocol):
    """The protocol of one client's connection."""

    def __init__(self, server: "Server", repeats: Repeats | None) -> None:
        self._server = server
        self._repeats = repeats
        self._handler: web.RequestHandler | None = None
        self._peer = "@"
        self._is_between = repeats is not None
        self._is_stopping = False
        self._is_paused = False
        self._asked: bytes | None = None
        self._answering = 0
        self._early = b""
        self.delivery: Delivery | None = None
        self.opened_at = self._idle_since = 0.0
        self._unfinished_bytes = 0

    @property
    def idle_since(self) -> float | None:
        """See Guarded."""
        return None if self._answering else self._idle_since

    @property
    def has_asked(self) -> bool:
        """Say whether a request came, or begins to."""
        return bool(self._answering or self._unfinished_bytes) or self._idle_since > self.opened_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self._peer = str(name[0])
        self.opened_at = self._idle_since = self._server.now()
        self._server.open.add(self)
        if not self._server.guard.opened(self, transport):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.delivery is not None:
            # It waits until the file is out, and no more is read before that.
            self._early += data
            self._transport.pause_reading()
            return
        if self._is_between and not self._is_paused:
            if self._answer(data):
                return
            self._asked = data if _is_one_head(data) else None
        else:
            self._asked = None
        self._is_between = False
        if not self._answering:
            # One read may bring several requests, so only those before it are counted.
            if self._unfinished_bytes > self._server.guard.rules.header_bytes:
                self.abort()
                return
            self._unfinished_bytes += len(data)
        self._made_handler().data_received(data)

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        if self._handler is not None:
            self._handler.eof_received()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = True
        if self.delivery is not None:
            self.delivery.pause()
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = False
        if self.delivery is not None:
            self.delivery.resume()
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._is_stopping = True
        self._server.open.discard(self)
        self._server.guard.closed(self)
        if self.delivery is not None:
            self.delivery.lose()
        if self._handler is not None:
            self._handler.connection_lost(exc)

    def begin(self) -> None:
        """Note that aiohttp has begun with a request."""
        self._answering += 1
        self._unfinished_bytes = 0

    def end(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Note that all of aiohttp's answer to a request was handed to the transport."""
        self._answering -= 1
        self._idle_since = self._server.now()
        head, self._asked = self._asked, None
        if self._repeats is None or head is None or self._is_stopping or request.body_exists:
            return
        self._repeats.learn(head, request, response)
        self._is_between = bool(response.keep_alive)

    def stop(self) -> None:
        """Answer nothing more at once, and close if no request is under way."""
        self._is_stopping = True
        self._is_between = False
        if self.delivery is not None:
            # It closes the connection at its end.
            return
        if self._handler is None:
            self._transport.close()
        else:
            self._handler.close()

    def abort(self) -> None:
        """Close at once, without an answer."""
        self._transport.abort()

    def close_if_idle(self, since: float) -> None:
        """Close if there was no request after ``since``, in seconds of the loop's clock."""
        if not self._answering and self._idle_since < since:
            self._transport.close()

    def _answer(self, data: bytes) -> bool:
        started = perf_counter()
        repeat = self._repeats.find(data) if self._repeats is not None else None
        current = repeat.current() if repeat is not None else None
        if repeat is None or current is None:
            return False
        answer = repeat.answer(current)
        if current.reader is not None:
            self._deliver(repeat, answer, current.reader, started)
            return True
        self._transport.write(answer)
        if repeat.closes:
            self._is_between = False
            self._transport.close()
        self._idle_since = self._server.now()
        repeat.report(self._peer, started, len(current.body))
        return True

    def _deliver(self, repeat: Repeat, head: bytes, reader: HeldBlobReader, started: float) -> None:
        def ended(delivery: Delivery) -> None:
            self.delivery = None
            self._answering -= 1
            self._idle_since = self._server.now()
            repeat.end(self._peer, started, delivery)
            if delivery.failure is not None:
                self._transport.abort()
            elif repeat.closes or self._is_stopping:
                self._transport.close()
            elif self._early:
                self._go_on()

        self._answering += 1
        repeat.begin()
        self.delivery = Delivery(self._transport, head, reader, ended=ended)
        if self._is_paused:
            self.delivery.pause()

    def _go_on(self) -> None:
        """Take what was read while a file was sent."""
        data, self._early = self._early, b""
        self._is_between = False
        self._transport.resume_reading()
        self.data_received(data)

    def _made_handler(self) -> web.RequestHandler:
        if self._handler is None:
            self._handler = self._server.make_handler()
            self._handler.connection_made(self._transport)
            if self._is_paused:
                self._handler.pause_writing()
        return self._handler


class Server(web.Server):
    """aiohttp's server, behind such connections."""

    def __init__(self, handler: RequestHandler, repeats: Repeats | None, *, guard: Guard) -> None:
        """Answer with ``handler`` what is not among ``repeats``, within the guard's limits.

        A connection without a request for as long as those say is closed, soon after.
        """
        self.guard = guard
        self._handle = handler
        # What is answered at once is not counted.
        self._repeats = None if guard.rules.requests_per_second else repeats
        self._sweep_seconds = guard.rules.idle_seconds / 15
        super().__init__(
            self._begin,
            access_log=_log,
            access_log_class=_End,
            keepalive_timeout=_NEVER_SECONDS,
            max_line_size=_LONGEST_LINE,
            max_field_size=guard.rules.header_bytes,
            auto_decompress=False,
            lingering_time=1.0,
        )
        self.open: set[Connection] = set()
        self.now = self._loop.time
        self._sweep = self._loop.call_later(self._sweep_seconds, self._close_idle)

    def __call__(self) -> Connection:  # type: ignore[override] # the loop wants a protocol only
        """Make the protocol of a new connection."""
        return Connection(self, self._repeats)

    def is_awaiting(self, since: float) -> bool:
        """Say whether a connection that was opened after ``since`` has yet to ask for anything."""
        return any(one.opened_at > since and not one.has_asked for one in self.open)

    def make_handler(self) -> web.RequestHandler:
        """Make aiohttp's handler of one connection."""
        return _Handler(self, loop=self._loop, **self._kwargs)

    def pre_shutdown(self) -> None:
        """See aiohttp: close what is idle; what is under way goes on."""
        self._sweep.cancel()
        for connection in tuple(self.open):
            connection.stop()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's interface
        """See aiohttp: let what is under way go on for ``timeout`` seconds, then break it off."""
        began = self.now()
        if await self._end_deliveries(timeout) and timeout is not None:
            # aiohttp takes 0 for no limit.
            timeout = max(timeout - (self.now() - began), _MOMENT_SECONDS)
        await super().shutdown(timeout)

    async def _begin(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = _connection_of(request)
        if connection is not None:
            connection.begin()
        if self.guard.rules.requests_per_second and not self.guard.may_ask(self._client(request)):
            return ErrorResponse(ErrorCode.TOOMANYREQUESTS, headers={"Retry-After": _RETRY_AFTER})
        return await self._handle(request)

    async def _end_deliveries(self, seconds: float | None) -> bool:
        """Wait for files that are being sent; say whether there were any."""
        running = [one.delivery.task for one in self.open if one.delivery is not None]
        if not running:
            return False
        _, late = await asyncio.wait(running, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return True

    def _close_idle(self) -> None:
        since = self.now() - self.guard.rules.idle_seconds
        for connection in tuple(self.open):
            connection.close_if_idle(since)
        self._sweep = self._loop.call_later(self._sweep_seconds, self._close_idle)

    def _client(self, request: web.BaseRequest) -> Address | None:
        forwarded_for = request.headers.getall("X-Forwarded-For", ())
        return client_address(peer_of(request), forwarded_for, self.guard.trusted_proxies)


class _Handler(web.RequestHandler):
    """aiohttp's handler, which says less of what is not HTTP."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP; its text, which may hold a credential, is shown nowhere."""
        if status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        fields = {"peer": request.remote, "kind": type(exc).__name__}
        _log.debug("a request is not HTTP", extra={"fields": fields})
        response = web.Response(
            status=status, text="400 Bad Request\n", headers={"Server": "roadstead"}
        )
        response.force_close()
        return response


class _End(AbstractAccessLogger):
    """Is called by aiohttp when an answer was handed to the transport, and logs nothing."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 - aiohttp's interface
        """See aiohttp."""
        connection = _connection_of(request)
        if connection is not None:
            connection.end(request, response)


def _connection_of(request: web.BaseRequest) -> Connection | None:
    transport = request.transport
    protocol = transport.get_protocol() if transport is not None else None
    return protocol if isinstance(protocol, Connection) else None


def _is_one_head(data: bytes) -> bool:
    """Say whether these bytes are one whole head of a GET or HEAD, and nothing else.

    Every line must end as RFC 9112 wants it, so that no parser can see two heads in it.
    """
    return (
        data.startswith((b"GET ", b"HEAD "))
        and data.endswith(_END)
        and data.count(_END) == 1
        and data.count(b"\n") == data.count(b"\r\n")
    )
