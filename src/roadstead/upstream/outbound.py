"""How each address is reached, decided once for both HTTP clients."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from roadstead.errors import UpstreamUnreachableError
from roadstead.telemetry.tracing import UNTRACED, Attribute, Span, SpanKind, Tracer
from roadstead.upstream.address import Origin, printable
from roadstead.upstream.proxies import HttpProxy, environment_proxy
from roadstead.upstream.tlscontext import ClientTls, default_client_tls


@dataclass(frozen=True, slots=True)
class Tracing:
    """Who traces requests; ``passes_on`` the trace to the registry's own host, or to nobody."""

    tracer: Tracer = UNTRACED
    passes_on: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """Through which proxy (None: directly), and with which context where TLS is spoken."""

    proxy: HttpProxy | None
    tls: ssl.SSLContext


class Outbound:
    """The routes from one upstream's client."""

    def __init__(
        self,
        registry: Origin,
        *,
        tls: ClientTls | None = None,
        proxy: str | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``tls`` None is the system's trust; ``proxy`` None is the environment's choice.

        A given ``proxy`` is for all that the upstream needs, token server and storage too, and
        NO_PROXY does not limit it.

        Raises:
            ValueError: ``proxy`` is no http or https address; its text is not repeated.
        """
        self._registry = registry
        self._given_tls = tls
        self._tracing = tracing or Tracing()
        self._proxy = None if proxy is None else HttpProxy.parse(proxy)

    @property
    def _tls(self) -> ClientTls:
        # The system's trust is read when it is first needed: it takes longer than a start should.
        return self._given_tls or default_client_tls()

    def trace(self, method: str, url: str) -> tuple[Span, Mapping[str, str]]:
        """Begin the span of one request; return it, and headers for the request."""
        origin = Origin.parse(url)
        told: dict[str, Attribute] = {
            "http.request.method": method,
            "url.full": printable(url),
            "server.address": origin.host,
            "server.port": origin.port,
        }
        span = self._tracing.tracer.start(method, SpanKind.CLIENT, told)
        # As with credentials: what is not for a host does not go there.
        passes_on = self._tracing.passes_on and origin == self._registry
        return span, span.headers() if passes_on else {}

    def route_to(self, url: str) -> Route:
        """Return the route to an http or https address.

        Raises:
            UpstreamUnreachableError: the environment's proxy is no http or https address.
        """
        proxy = self._proxy
        if proxy is None:
            try:
                proxy = environment_proxy(url)
            except ValueError as error:
                message = f"the HTTP proxy of the environment {error}"
                raise UpstreamUnreachableError(message, upstream=self._registry.authority) from None
        if proxy is not None and proxy.url.startswith("https:"):
            # aiohttp speaks to such a proxy with the context for what lies behind it.
            return Route(proxy, self._tls.elsewhere)
        return Route(proxy, self._tls.context_for(url, registry=self._registry))
