"""Spans of OpenTelemetry; the one module that imports it, and only if traces are wanted.

The names of attributes are those of the semantic conventions for HTTP. Whatever comes from outside
is masked as in the logs, queries are left out, and messages of errors, which may hold anything,
are not recorded: their class is.
"""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from roadstead import __version__
from roadstead.telemetry.answered import Exchange, ExchangeLog, LogAgain
from roadstead.telemetry.redaction import redact
from roadstead.telemetry.tracing import Attribute, Span, SpanKind

_KINDS: Final = {
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
}
# Neither baggage nor another vendor's headers: clients could put anything there.
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_ROUTES: Final = {
    "base": "/v2/",
    "blob": "/v2/{name}/blobs/{digest}",
    "blob_upload": "/v2/{name}/blobs/uploads/",
    "catalog": "/v2/_catalog",
    "manifest": "/v2/{name}/manifests/{reference}",
    "referrers": "/v2/{name}/referrers/{digest}",
    "tags": "/v2/{name}/tags/list",
}
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_CLOSING_SECONDS: Final = 2.0
_NANOSECONDS: Final = 1_000_000_000


def make_provider(exporter: str) -> TracerProvider:
    """Make what OTEL_* variables describe; ``exporter`` is otlp or console.

    Resource, sampler, limits, endpoint, headers and batching are read by OpenTelemetry itself.

    Raises:
        ImportError: OpenTelemetry, or the exporter, is not installed.
    """
    resource = Resource.create({"service.version": __version__})
    if "unknown_service" in str(resource.attributes.get("service.name", "unknown_service")):
        resource = resource.merge(Resource({"service.name": "roadstead"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(_processor(exporter))
    return provider


def _processor(exporter: str) -> SpanProcessor:
    if exporter == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter())
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - only here
        OTLPSpanExporter,
    )

    return BatchSpanProcessor(OTLPSpanExporter())


class OtelTracer:
    """A Tracer, and an ExchangeLog of requests that are answered without a span of their own."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("roadstead", __version__)

    @property
    def repeats(self) -> ExchangeLog:
        """See Tracer."""
        return self

    def start(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Span:
        """See Tracer."""
        parent = None
        if headers is not None:
            known = {key: headers[key] for key in ("traceparent", "tracestate") if key in headers}
            # Not of the current span, whatever that is: the client's, or a new trace.
            parent = _PROPAGATOR.extract(known, context=otel_context.Context())
        made = self._tracer.start_span(
            name, context=parent, kind=_KINDS[kind], attributes=_masked(attributes or {})
        )
        return OtelSpan(made)

    def wait_for(self, other: Span) -> None:
        """See Tracer."""
        if isinstance(other, OtelSpan):
            trace.get_current_span().add_link(other.made.get_span_context())

    def __call__(self, exchange: Exchange) -> None:
        """See ExchangeLog: told within its span, a request has one; else it gets one now."""
        if not trace.get_current_span().get_span_context().is_valid:
            self._record(exchange, _described(exchange), exchange.seconds)

    def again(self, exchange: Exchange) -> LogAgain:
        """See ExchangeLog: a repeated request gets a span when it is over."""
        attributes = _described(exchange)

        def log(peer: str, _request_id: str, seconds: float) -> None:
            address = {} if exchange.forwarded_for else {"client.address": peer}
            told = {**attributes, **address, "network.peer.address": peer}
            self._record(exchange, told, seconds)

        return log

    def _record(self, exchange: Exchange, told: Mapping[str, Attribute], seconds: float) -> None:
        """Make the span of a request that has just ended; such a one brings no traceparent."""
        ended = time.time_ns()
        span = self._tracer.start_span(
            _name(exchange),
            context=otel_context.Context(),
            kind=trace.SpanKind.SERVER,
            attributes=told,
            start_time=ended - int(seconds * _NANOSECONDS),
        )
        OtelSpan(span).judge(exchange)
        span.end(ended)

    def close(self) -> None:
        """Send what is still to be sent, for two seconds at most.

        OpenTelemetry would try for as long as its time-outs allow, and a stop has to end.
        """
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(_CLOSING_SECONDS)


class OtelSpan:
    """A Span."""

    def __init__(self, made: trace.Span) -> None:
        self.made = made
        self._token: Any = None

    def __enter__(self) -> Self:
        self._token = otel_context.attach(trace.set_span_in_context(self.made))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        otel_context.detach(self._token)
        if error is not None:
            self.fail(type(error).__name__)
        self.made.end()

    def set(self, name: str, value: Attribute) -> None:
        """See Span."""
        self.made.set_attributes(_masked({name: value}))

    def fail(self, error: str) -> None:
        """See Span."""
        self.made.set_attribute("error.type", error)
        self.made.set_status(trace.StatusCode.ERROR)

    def describe(self, exchange: Exchange) -> None:
        """See Span."""
        self.made.update_name(_name(exchange))
        self.made.set_attributes(_described(exchange))
        self.judge(exchange)

    def judge(self, exchange: Exchange) -> None:
        """Make it a failed one if the server failed, or the answer was broken off."""
        if exchange.status >= _FIRST_SERVER_ERROR or not exchange.status:
            self.fail(exchange.error_code or str(exchange.status))
        elif exchange.status < _FIRST_ERROR and exchange.error_message:
            self.fail("broken off")

    def headers(self) -> Mapping[str, str]:
        """See Span."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=trace.set_span_in_context(self.made))
        return carrier


def _name(exchange: Exchange) -> str:
    return f"{_method(exchange.method)} {_route(exchange)}".rstrip()


def _route(exchange: Exchange) -> str:
    return _ROUTES.get(exchange.handler, "")


def _method(method: str) -> str:
    # As the conventions want it, lest a client makes names.
    return method if method in _METHODS else "_OTHER"


def _described(exchange: Exchange) -> dict[str, Attribute]:
    told: dict[str, Attribute] = {
        "http.request.method": _method(exchange.method),
        "http.route": _route(exchange),
        "http.response.status_code": exchange.status,
        "http.response.body.size": exchange.written_bytes,
        "url.path": exchange.target.partition("?")[0],
        "server.address": exchange.host,
        "client.address": exchange.client,
        "network.peer.address": exchange.peer,
        "network.protocol.version": exchange.protocol.partition("/")[2],
        "user_agent.original": exchange.user_agent,
        "roadstead.upstream": exchange.upstream,
        "roadstead.repository": exchange.repository,
        "roadstead.reference": exchange.reference,
        "roadstead.digest": exchange.content_digest or exchange.digest,
        "roadstead.outcome": str(exchange.outcome or ""),
    }
    return _masked({name: value for name, value in told.items() if value != ""})


def _masked(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {
        name: redact(value) if isinstance(value, str) else value
        for name, value in attributes.items()
    }
