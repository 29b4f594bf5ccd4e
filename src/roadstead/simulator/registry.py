"""A registry on a loopback port that does exactly what its script says, and remembers it all."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeAlias

from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.oci.errorcode import ErrorCode
from roadstead.simulator.api import RegistryApi, Target, error_reply, parse_target
from roadstead.simulator.faults import Criteria, Fault, Injection, RequestKind
from roadstead.simulator.shelf import Shelf
from roadstead.simulator.signed import SignedUrls
from roadstead.simulator.tokens import (
    TOKEN_PATH,
    Authentication,
    BasicAuthentication,
    TokenService,
)
from roadstead.simulator.wire import (
    HttpRequest,
    Reply,
    ReplyWriter,
    Sleep,
    is_bodiless,
    serve_connection,
)

_STREAM_LIMIT_BYTES = 1 << 20


@dataclass(slots=True)
class RequestRecord:
    """One request that arrived, and what became of it.

    ``body_bytes`` is what a client would get of the body if nothing broke off; ``faults`` are
    the labels of the faults that acted. ``watch`` is told when the reply is over.
    """

    request: HttpRequest
    target: Target
    status: int
    body_bytes: int
    faults: tuple[str, ...] = ()
    body_bytes_sent: int = 0
    ended: bool = False
    watch: "Watch | None" = None

    @property
    def method(self) -> str:
        """GET, HEAD and so on."""
        return self.request.method

    @property
    def path(self) -> str:
        """Path without its query."""
        return self.request.path

    @property
    def headers(self) -> dict[str, str]:
        """Headers, names in lower case."""
        return self.request.headers

    @property
    def kind(self) -> RequestKind:
        """What was asked for."""
        return self.target.kind

    def count_sent(self, count: int) -> None:
        """Add body bytes that went out."""
        self.body_bytes_sent += count

    def end(self) -> None:
        """Note that no more will be sent."""
        self.ended = True
        if self.watch is not None:
            self.watch(self)


Watch: TypeAlias = Callable[[RequestRecord], None]
"""Is told of every request twice: when its answer is decided, and when that is over."""


@dataclass(slots=True)
class _Listener:
    server: asyncio.Server
    connections: set[asyncio.Task[None]] = field(default_factory=set)


class ScriptedRegistry(Shelf):
    """An upstream for rehearsals; use it as an async context manager.

    Content may change and faults may be injected at any time between two requests.
    ``referrers`` and page sizes are switched on ``api``. The port stays the same over
    ``stop`` and ``start``. ``tls`` makes it speak HTTPS. ``watch`` may be set to follow what
    happens.
    """

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__()
        self.api = RegistryApi(self)
        self.requests: list[RequestRecord] = []
        self.watch: Watch | None = None
        self.authentication: Authentication | None = None
        self.challenge_on_ping_only = False
        self.tokens: TokenService | None = None
        self._injections: list[Injection] = []
        self._signed = SignedUrls()
        self._address, self._port, self._tls, self._sleep = address, port, tls, sleep
        self._gate = asyncio.Event()
        self._gate.set()
        self._listener: _Listener | None = None

    @property
    def host(self) -> str:
        """Address and port, as they stand in a URL."""
        return f"{self._address}:{self._port}"

    @property
    def url(self) -> str:
        """Scheme, address and port, without a path."""
        return f"{'http' if self._tls is None else 'https'}://{self.host}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a ``stop``, on the same port again."""
        server = await asyncio.start_server(
            self._connected, self._address, self._port, ssl=self._tls, limit=_STREAM_LIMIT_BYTES
        )
        self._port = server.sockets[0].getsockname()[1]
        self._listener = _Listener(server)

    async def stop(self) -> None:
        """Break every connection off and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.server.close()
        for task in listener.connections:
            task.cancel()
        await asyncio.gather(*listener.connections, return_exceptions=True)
        await listener.server.wait_closed()

    def pause(self) -> None:
        """Go on accepting, and say nothing more, also in the middle of bodies."""
        self._gate.clear()

    def resume(self) -> None:
        """Speak again, from where ``pause`` fell silent."""
        self._gate.set()

    def inject(  # noqa: PLR0913 - one parameter per criterion
        self,
        fault: Fault,
        *,
        kind: RequestKind | None = None,
        method: str | None = None,
        repository: str | None = None,
        reference: str | Digest | None = None,
        skip: int = 0,
        times: int | None = None,
        min_body_bytes: int = 0,
        label: str = "",
    ) -> Injection:
        """Let ``fault`` act on matching requests that authentication admits.

        It skips the first ``skip`` of them, then acts on ``times`` (None: on all). Answers with
        a body shorter than ``min_body_bytes`` do not match. The result counts its uses and can
        be given to ``withdraw``.
        """
        wanted = None if reference is None else str(reference)
        criteria = Criteria(
            kind=kind,
            method=method,
            repository=repository,
            reference=wanted,
            min_body_bytes=min_body_bytes,
        )
        injection = Injection(fault, criteria, skip, times, label)
        self._injections.append(injection)
        return injection

    def withdraw(self, injection: Injection) -> None:
        """End a fault."""
        self._injections.remove(injection)

    def require_basic(self, user: str, password: str) -> None:
        """Ask for Basic authentication from now on."""
        self.authentication = BasicAuthentication(user, password)

    def require_bearer(
        self, service: TokenService, *, at: "ScriptedRegistry | None" = None
    ) -> None:
        """Ask for Bearer tokens of ``service``, which answers on this host or ``at`` another."""
        self.authentication = service
        (at or self).tokens = service

    def token_service(
        self, *, users: dict[str, str] | None = None, anonymous: bool = True
    ) -> TokenService:
        """Ask for Bearer tokens of a new token service on this host, and return it."""
        service = TokenService(realm=self.realm, users=users or {}, anonymous=anonymous)
        self.require_bearer(service)
        return service

    @property
    def realm(self) -> str:
        """Address of the token end point, if this host has one."""
        return f"{self.url}{TOKEN_PATH}"

    def sign(self, reply: Reply, *, uses: int | None, relative: bool = False) -> str:
        """Return a signed address at this host for the content of ``reply``."""
        media_type = reply.get("Content-Type") or mediatype.OCTET_STREAM
        path = self._signed.sign(
            reply.content, media_type=media_type, uses=uses, takes_credentials=relative
        )
        return path if relative else self.url + path

    def count(
        self,
        *,
        kind: RequestKind | None = None,
        method: str | None = None,
        path_contains: str = "",
    ) -> int:
        """Count the requests so far that fit."""
        return sum(
            kind in {None, record.kind}
            and method in {None, record.method}
            and path_contains in record.path
            for record in self.requests
        )

    def blob_bytes_sent(self, digest: Digest) -> int:
        """Add up the body bytes of all answers to requests for this blob on this host."""
        wanted = (RequestKind.BLOB, str(digest))
        return sum(
            record.body_bytes_sent
            for record in self.requests
            if (record.kind, record.target.reference) == wanted
        )

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener, task = self._listener, asyncio.current_task()
        if listener is None or task is None:
            writer.close()
            return
        listener.connections.add(task)
        try:
            replies = ReplyWriter(writer, gate=self._gate, sleep=self._sleep)
            await serve_connection(reader, replies, self._answer)
        except asyncio.CancelledError:
            # Only ``stop`` cancels: what is still in the buffers is not to be sent.
            writer.transport.abort()
        finally:
            listener.connections.discard(task)
            writer.close()

    def _answer(self, request: HttpRequest) -> tuple[Reply, RequestRecord]:
        target = parse_target(request.path)
        reply = self._refusal(request, target)
        faults: tuple[str, ...] = ()
        if reply is None:
            reply = self._right_answer(request, target)
            faults = self._spoil(request, target, reply)
        record = RequestRecord(
            request,
            target,
            reply.status,
            0 if is_bodiless(request, reply) else reply.length,
            faults,
            watch=self.watch,
        )
        self.requests.append(record)
        if self.watch is not None:
            self.watch(record)
        return reply, record

    def _refusal(self, request: HttpRequest, target: Target) -> Reply | None:
        if self.authentication is None or target.kind in {RequestKind.TOKEN, RequestKind.STORAGE}:
            return None
        authorization = request.headers.get("authorization", "")
        if self.authentication.admits(authorization, target.repository):
            return None
        reply = error_reply(ErrorCode.UNAUTHORIZED)
        if target.kind is RequestKind.PING or not self.challenge_on_ping_only:
            challenges = self.authentication.challenges(authorization, target.repository)
            reply.headers.extend(("WWW-Authenticate", value) for value in challenges)
        return reply

    def _right_answer(self, request: HttpRequest, target: Target) -> Reply:
        if target.kind is RequestKind.STORAGE:
            return self._signed.answer(request)
        if target.kind is not RequestKind.TOKEN:
            return self.api.answer(request, target)
        if self.tokens is None:
            return error_reply(ErrorCode.UNSUPPORTED, status=HTTPStatus.NOT_FOUND)
        return self.tokens.answer(request)

    def _spoil(self, request: HttpRequest, target: Target, reply: Reply) -> tuple[str, ...]:
        names = (target.repository, target.reference)
        labels = []
        for injection in self._injections:
            criteria = injection.criteria
            matches = criteria.match(request, target.kind, names)
            if matches and reply.length >= criteria.min_body_bytes and injection.due():
                injection.fault(request, reply)
                labels.append(injection.label)
        return tuple(filter(None, labels))
