"""Takes each HTTP request through its life: parse, gate, handle, render, report."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from roadstead.errors import NamespaceUnknownError, RoadsteadError
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
from roadstead.server.registry import RegistryHandlers, refuse_write
from roadstead.telemetry import events

_log = logging.getLogger("roadstead.server")


class RegistryApp:
    """The request handler of the main listener."""

    def __init__(
        self,
        handlers: RegistryHandlers,
        *,
        namespaces: frozenset[str] | None,
        extra_headers: Mapping[str, Iterable[str]],
        prefix: str,
        is_healthy: Callable[[], bool],
        observe: events.Observer,
        report: Callable[[events.Exchange], None],
    ) -> None:
        """Compose.

        ``namespaces`` are the values of ``?ns=`` that mean this mirror's upstream (None: all);
        ``extra_headers`` is ``http.headers``, put on every answer but that of ``/`` and that of
        a failed health check (facts/registry.md 1.6 and 5.2); ``prefix`` is
        ``http.prefix`` with both slashes, ``/`` for none; ``report`` writes the log lines.
        """
        self._handlers = handlers
        self._namespaces = namespaces
        self._api_headers = [
            ("Docker-Distribution-Api-Version", "registry/2.0"),
            *((name, value) for name, values in extra_headers.items() for value in values),
        ]
        self._prefix = prefix.rstrip("/")
        self._is_healthy = is_healthy
        self._observe = observe
        self._report = report

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises but for cancellation."""
        incoming = Incoming(request)
        # Else aiohttp tells its own and Python's version.
        incoming.common_headers["Server"] = "roadstead"
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
        self._finish(incoming, response)
        return response

    async def _answer(self, incoming: Incoming) -> web.StreamResponse:
        if not self._is_healthy():
            return ErrorResponse(
                ErrorCode.UNAVAILABLE, detail="health check failed: please see /debug/health"
            )
        path = incoming.request.path
        if path == "/":
            return web.Response(headers={"Cache-Control": "no-cache"})
        incoming.common_headers.extend(self._api_headers)
        if path == f"{self._prefix}/v2":
            return web.Response(status=301, headers={"Location": f"{self._prefix}/v2/"})
        if not path.startswith(f"{self._prefix}/v2/"):
            return _not_found()
        return await self._routed(incoming, path[len(self._prefix) :])

    async def _routed(self, incoming: Incoming, path: str) -> web.StreamResponse:
        try:
            endpoint = parse_endpoint(path)
            if endpoint is None:
                return _not_found()
            _describe(incoming, endpoint)
            self._observe(events.RequestStarted(endpoint.label))
            if incoming.method == "OPTIONS":
                return web.Response(headers={"Allow": "GET, HEAD"})
            if incoming.method not in ("GET", "HEAD"):
                return refuse_write()
            self._check_namespace(incoming)
            return await self._handlers.handle(incoming, endpoint)
        except RoadsteadError as error:
            incoming.failure = str(error)
            return render_error(error)
        except Exception as error:  # noqa: BLE001 - see below
            # The boundary of one request: whatever a handler did not foresee is answered in the
            # spec's form, logged with its traceback, and harms no other request.
            incoming.failure = f"{type(error).__name__}: {error}"
            _log.exception("a request failed", extra={"fields": {"path": path}})
            return ErrorResponse(ErrorCode.UNKNOWN)

    def _check_namespace(self, incoming: Incoming) -> None:
        """Refuse to answer for a registry that is not this mirror's upstream.

        containerd and BuildKit name in ``?ns=`` the registry that the user asked for; with one
        mirror for all registries, another one's image must not be answered from this upstream.
        A quick 404 makes the client go on to the origin.
        """
        namespace = incoming.request.query.get("ns")
        if not namespace:
            return
        if self._namespaces is not None and namespace not in self._namespaces:
            raise NamespaceUnknownError(namespace)
        incoming.common_headers["OCI-Namespace"] = namespace

    def _finish(self, incoming: Incoming, response: web.StreamResponse | None) -> None:
        summary = incoming.summary(response)
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
        self._report(summary)


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
