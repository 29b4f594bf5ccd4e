"""Takes each HTTP request through its life: parse, gate, handle, render, report."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from aiohttp import web

from roadstead.errors import RoadsteadError
from roadstead.mirror.routing import Hints
from roadstead.oci.errorcode import ErrorCode
from roadstead.server.endpoints import (
    Base,
    BlobEndpoint,
    CatalogEndpoint,
    Endpoint,
    ManifestEndpoint,
    ReferrersEndpoint,
    TagsEndpoint,
    UploadEndpoint,
    parse_endpoint,
)
from roadstead.server.errors import ErrorResponse, render_error
from roadstead.server.incoming import Incoming
from roadstead.server.registry import RegistryHandlers
from roadstead.server.repeats import PRECEDENT, Precedent, Repeats, is_unconditional
from roadstead.server.resolve import note_denial
from roadstead.telemetry import events
from roadstead.telemetry.answered import Exchange, ExchangeLog
from roadstead.telemetry.tracing import UNTRACED, SpanKind, Tracer

_log = logging.getLogger("roadstead.server")

_OK = 200


class Standing(Protocol):
    """How the process stands: what every request is gated on."""

    @property
    def draining(self) -> bool:
        """Whether it is about to stop, so that no connection should be kept for another request."""

    def is_healthy(self) -> bool:
        """Say whether no health check is failing."""


class RegistryApp:
    """The request handler of the main listener."""

    def __init__(  # noqa: PLR0913 - each has a name where it is composed
        self,
        handlers: RegistryHandlers,
        *,
        is_upstream: Callable[[str], bool],
        listener: str | None,
        extra_headers: Mapping[str, Iterable[str]],
        prefix: str,
        standing: Standing,
        observe: events.Observer,
        report: ExchangeLog,
        tracer: Tracer = UNTRACED,
    ) -> None:
        """Compose.

        ``is_upstream`` knows the upstreams' names; ``listener`` is the name of the one that this
        listener is for, if it is for one;
        ``extra_headers`` is ``http.headers``, put on every answer but that of ``/`` and that of
        a failed health check (facts/registry.md 1.6 and 5.2); ``prefix`` is
        ``http.prefix`` with both slashes, ``/`` for none; ``report`` writes the log lines.
        """
        self._handlers = handlers
        self._is_upstream = is_upstream
        self._listener = listener
        self._api_headers = [
            ("Docker-Distribution-Api-Version", "registry/2.0"),
            *((name, value) for name, values in extra_headers.items() for value in values),
        ]
        self._prefix = prefix.rstrip("/")
        self._standing = standing
        self._observe = observe
        self._report = report
        self._tracer = tracer
        self.repeats = Repeats(may_answer=self._may_repeat, observe=observe, report=report)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises but for cancellation."""
        span = self._tracer.start("HTTP", SpanKind.SERVER, headers=request.headers)
        incoming = Incoming(request, span=span)
        with span:
            return await self._respond(incoming)

    async def _respond(self, incoming: Incoming) -> web.StreamResponse:
        # Else aiohttp tells its own and Python's version.
        incoming.common_headers["Server"] = "roadstead"
        if self._standing.draining:
            incoming.common_headers["Connection"] = "close"
        try:
            response = await self._answer(incoming)
        except asyncio.CancelledError:
            incoming.failure = "the server is stopping"
            self._finish(incoming, None)
            raise
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            incoming.sent_bytes = 0 if incoming.is_head else len(response.body)
        if not response.prepared:
            response.headers.extend(incoming.common_headers)
        exchange = self._finish(incoming, response)
        repeatable, request = None if incoming.failure else incoming.repeatable, incoming.request
        if repeatable is not None and response.status == _OK and self._may_be_known(request):
            request[PRECEDENT] = Precedent(repeatable, exchange, incoming.stored_name)
        return response

    def _may_be_known(self, request: web.BaseRequest) -> bool:
        """Say whether the answer hangs on nothing but the bytes of the request's head."""
        return self._handlers.gate.is_open and is_unconditional(request)

    def _may_repeat(self) -> bool:
        """Say whether requests may be answered as before, and connections be kept."""
        return self._standing.is_healthy() and not self._standing.draining

    async def _answer(self, incoming: Incoming) -> web.StreamResponse:
        if not self._standing.is_healthy():
            return ErrorResponse(
                ErrorCode.UNAVAILABLE, detail="health check failed: please see /debug/health"
            )
        path = incoming.request.path
        if path == "/":
            return web.Response(headers={"Cache-Control": "no-cache"})
        incoming.common_headers.extend(self._api_headers)
        if not path.startswith(self._prefix):
            return _not_found()
        upstream, path = self._split_upstream(path[len(self._prefix) :])
        if path == "/v2":
            return web.Response(status=301, headers={"Location": f"{incoming.request.path}/"})
        if not path.startswith("/v2/"):
            return _not_found()
        request = incoming.request
        incoming.hints = Hints(
            prefix=upstream,
            namespace=request.query.get("ns") or None,
            listener=self._listener,
            host=request.headers.get("Host", ""),
        )
        return await self._routed(incoming, path)

    def _split_upstream(self, path: str) -> tuple[str | None, str]:
        """Take an upstream's name off the front of a path.

        Docker from 25 on and containerd hosts with a path ask ``/<name>/v2/...``.
        """
        first, _, rest = path[1:].partition("/")
        if rest.startswith("v2") and self._is_upstream(first):
            return first, f"/{rest}"
        return None, path

    async def _routed(self, incoming: Incoming, path: str) -> web.StreamResponse:
        try:
            endpoint = parse_endpoint(path)
            if endpoint is None:
                return _not_found()
            _describe(incoming, endpoint)
            self._observe(events.RequestStarted(endpoint.label))
            if incoming.method == "OPTIONS":
                return web.Response(headers={"Allow": self._handlers.allowed(endpoint)})
            is_read = incoming.method in ("GET", "HEAD")
            if not (is_read and self._handlers.gate.is_open):
                await self._handlers.gate.authorise(incoming, endpoint)
            if not is_read:
                return await self._handlers.change(incoming, endpoint)
            return await self._handlers.handle(incoming, endpoint)
        except RoadsteadError as error:
            incoming.failure, incoming.error = str(error), type(error).__name__
            note_denial(incoming, error)
            return render_error(error)
        except Exception as error:  # noqa: BLE001 - see below
            # The boundary of one request: whatever a handler did not foresee is answered in the
            # spec's form, logged with its traceback, and harms no other request.
            incoming.failure, incoming.error = f"{type(error).__name__}: {error}", "unforeseen"
            _log.exception("a request failed", extra={"fields": {"path": path}})
            return ErrorResponse(ErrorCode.UNKNOWN)

    def _finish(self, incoming: Incoming, response: web.StreamResponse | None) -> Exchange:
        summary = incoming.summary(response)
        if incoming.error:
            self._observe(events.RequestFailed(incoming.error))
        if incoming.label:
            self._observe(
                events.RequestEnded(
                    handler=incoming.label,
                    method=summary.method,
                    status=summary.status,
                    seconds=summary.seconds,
                    request_bytes=incoming.request.content_length or 0,
                    response_bytes=summary.written_bytes,
                )
            )
        incoming.span.describe(summary)
        self._report(summary)
        return summary


def _describe(incoming: Incoming, endpoint: Endpoint) -> None:
    incoming.label = endpoint.label
    match endpoint:
        case ManifestEndpoint():
            incoming.repository = endpoint.repository
            incoming.reference = str(endpoint.reference)
        case BlobEndpoint() | ReferrersEndpoint():
            incoming.repository = endpoint.repository
            incoming.digest = str(endpoint.digest)
        case TagsEndpoint() | UploadEndpoint():
            incoming.repository = endpoint.repository
        case Base() | CatalogEndpoint():
            pass


def _not_found() -> web.Response:
    """Answer a path that is no endpoint, as Go's servers do."""
    return web.Response(status=404, text="404 page not found\n")
