"""Small calls over aiohttp: redirects by our rules, bounded bodies, our errors only.

Authorization goes to the origin it is for and never along a redirect to another (failures 6).
Redirects are followed anew each time, since their targets are signed and expire (failures 5).
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import aiohttp
from yarl import URL

from roadstead import __version__
from roadstead.errors import (
    ContentTooLargeError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from roadstead.secrecy import Secret
from roadstead.telemetry.tracing import Span
from roadstead.upstream.address import Origin, printable, redirect_target
from roadstead.upstream.answers import MAX_REDIRECTS, REDIRECTS, parse_length
from roadstead.upstream.outbound import Outbound
from roadstead.upstream.timeouts import Timeouts
from roadstead.upstream.tlscontext import tls_failure

# Identity, or a registry compresses and the bytes no longer have their digest (Red Hat's does).
STANDARD_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"roadstead/{__version__}"}

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 65_536
_MAX_HEADER_BYTES = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; ``authorization`` is sent to the origin of ``url`` only."""

    method: str
    url: str
    headers: Mapping[str, str]
    authorization: Secret | None = None
    form: Mapping[str, str] | None = None
    follow: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer; ``url`` is where it came from in the end.

    ``authorization`` is what was sent, lest it be repeated in a message.
    """

    status: int
    headers: Mapping[str, str]
    challenges: list[str]
    body: bytes
    url: str
    redirected: bool
    authorization: Secret | None


class OpenAnswer:
    """An answer whose body is still to be read."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        call: Call,
        url: str,
        redirected: bool,
        guard: "_Guard",
    ) -> None:
        self._response = response
        self._guard = guard
        self._authorization = call.authorization
        self.url = url
        self.redirected = redirected
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.challenges = list(response.headers.getall("WWW-Authenticate", []))

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the body as it arrives.

        Raises:
            UpstreamUnreachableError: the connection broke, or ended before its time.
            UpstreamTimeoutError: it stalled.
        """
        while True:
            async with self._guard.limit(self._guard.timeouts.stall, "sent nothing for"):
                piece = await self._response.content.read(_PIECE_BYTES)
            if not piece:
                return
            yield piece

    async def read(self, limit_bytes: int, *, truncate: bool = False) -> Answer:
        """Read the body to its end; ``truncate`` keeps the beginning of one that is too long.

        Raises:
            ContentTooLargeError: it is longer than ``limit_bytes``, and not to be truncated.
            UpstreamError: as ``pieces``, or its encoding is unknown.
        """
        announced = parse_length(self.headers.get("Content-Length"))
        what = f"the answer of {printable(self.url)}"
        bodiless = self._response.method == "HEAD"
        if not (truncate or bodiless) and announced is not None and announced > limit_bytes:
            raise ContentTooLargeError(what, limit_bytes)
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > limit_bytes:
                if not truncate:
                    raise ContentTooLargeError(what, limit_bytes)
                break
        return Answer(
            status=self.status,
            headers=self.headers,
            challenges=self.challenges,
            body=self._decoded(bytes(body[:limit_bytes]), limit_bytes),
            url=self.url,
            redirected=self.redirected,
            authorization=self._authorization,
        )

    def _decoded(self, body: bytes, limit_bytes: int) -> bytes:
        encoding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding in {"", "identity"} or not body:
            return body
        if encoding not in {"gzip", "x-gzip"}:
            message = f"{printable(self.url)} answered with encoding {encoding!r}"
            raise self._guard.refuse(message)
        decoder = zlib.decompressobj(_GZIP_WINDOW)
        try:
            plain = decoder.decompress(body, limit_bytes)
        except zlib.error as error:
            message = f"{printable(self.url)} sent broken gzip data"
            raise self._guard.refuse(message) from error
        if decoder.unconsumed_tail:
            message = f"the answer of {printable(self.url)}"
            raise ContentTooLargeError(message, limit_bytes)
        return plain


class Transport:
    """The connections to one upstream and to where it redirects; an async context manager."""

    def __init__(self, *, upstream: str, timeouts: Timeouts, outbound: Outbound) -> None:
        """``upstream`` is the host in messages."""
        self._guard = _Guard(upstream, timeouts)
        self._outbound = outbound
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # One registry's cookies have no business at its storage host.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(sock_connect=self._guard.timeouts.connect),
            headers=STANDARD_HEADERS,
            # A signed Location may be long.
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, call: Call, *, limit_bytes: int, truncate: bool = False) -> Answer:
        """Make a call and read the whole answer.

        Raises:
            ContentTooLargeError: the body is longer than ``limit_bytes``.
            UpstreamError: no complete answer arrived, or a redirect was against the rules.
        """
        async with self.open(call) as answer:
            return await answer.read(limit_bytes, truncate=truncate)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[OpenAnswer]:
        """Make a call and follow its redirects, but those of a HEAD.

        A target is signed for GET and may refuse HEAD (facts/protocol.md, section 3), so a
        redirected HEAD gives the redirect itself.

        Raises:
            UpstreamError: no answer arrived, or a redirect was against the rules.
        """
        url, authorization = call.url, call.authorization
        for hop in range(MAX_REDIRECTS + 1):
            response = await self._send(call, url, authorization)
            try:
                location = response.headers.get("Location")
                follow = call.follow and call.method == "GET" and response.status in REDIRECTS
                if not follow or location is None:
                    yield OpenAnswer(
                        response, call=call, url=url, redirected=hop > 0, guard=self._guard
                    )
                    return
            finally:
                response.release()
            target = self._guard.redirect(url, location)
            if Origin.parse(target) != Origin.parse(url):
                authorization = None
            url = target
        message = f"redirected more than {MAX_REDIRECTS} times"
        raise self._guard.refuse(message)

    async def _send(
        self, call: Call, url: str, authorization: Secret | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            message = "the transport is not open"
            raise RuntimeError(message)
        route = self._outbound.route_to(url)
        headers = dict(call.headers)
        if authorization is not None:
            headers["Authorization"] = authorization.reveal()
        for_proxy = {} if route.proxy is None else route.proxy.headers
        if url.startswith("http:"):
            # Without a tunnel the proxy reads, and removes, a header of the request.
            headers |= for_proxy
        timeouts = self._guard.timeouts
        span, trace_headers = self._outbound.trace(call.method, url)
        headers |= trace_headers
        limit = self._guard.limit(timeouts.connect + timeouts.first_byte, "did not answer in")
        with span:
            async with limit:
                response = await self._session.request(
                    call.method,
                    # As it came: encoding a signed address anew would break its signature.
                    URL(url, encoded=True),
                    headers=headers,
                    data=None if call.form is None else dict(call.form),
                    allow_redirects=False,
                    ssl=route.tls,
                    proxy=None if route.proxy is None else route.proxy.url,
                    proxy_headers=for_proxy,
                )
            note_status(span, response.status)
            return response


def note_status(span: Span, status: int) -> None:
    """Say of the span of a request how it was answered (semantic conventions: 4xx is a failure)."""
    span.set("http.response.status_code", status)
    if status >= HTTPStatus.BAD_REQUEST:
        span.fail(str(status))


@dataclass(frozen=True, slots=True)
class _Guard:
    """Translates what goes wrong in aiohttp, and bounds every wait."""

    upstream: str
    timeouts: Timeouts

    @asynccontextmanager
    async def limit(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except aiohttp.ConnectionTimeoutError as error:
            message = f"could not be connected to in {self.timeouts.connect:g} s"
            raise UpstreamTimeoutError(message, upstream=self.upstream) from error
        except TimeoutError as error:
            message = f"{what} {seconds:g} s"
            raise UpstreamTimeoutError(message, upstream=self.upstream) from error
        except aiohttp.ClientHttpProxyError as error:
            message = f"the HTTP proxy answered {error.status}"
            raise UpstreamUnreachableError(message, upstream=self.upstream) from None
        except (aiohttp.InvalidURL, aiohttp.ClientResponseError):
            # Their texts hold whole addresses, signatures included.
            message = "the answer is no proper HTTP"
            raise self.refuse(message) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamUnreachableError(_reason(error), upstream=self.upstream) from error

    def redirect(self, url: str, location: str) -> str:
        try:
            return redirect_target(url, location)
        except ValueError as error:
            message = f"the redirect to {printable(location)} {error}"
            raise self.refuse(message) from None

    def refuse(self, message: str) -> UpstreamProtocolError:
        return UpstreamProtocolError(message, upstream=self.upstream)


def _reason(error: Exception) -> str:
    """Say why there is no connection, without the addresses that some of the texts hold."""
    failure = tls_failure(error)
    if not isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError
    ):
        return failure or f"the connection broke ({type(error).__name__})"
    place = f"{error.host}:{error.port}"
    if failure is not None:
        return f"cannot connect to {place}: {failure}"
    whose = "its HTTP proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
    return f"cannot connect to {whose}{place}: {error.strerror or type(error).__name__}"
