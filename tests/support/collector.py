"""A collector of traces that remembers what it is sent: OTLP over HTTP, on loopback."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(slots=True)
class Collector:
    """What arrived, raw and read."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def requests(self) -> Iterable[ExportTraceServiceRequest]:
        """Read what arrived."""
        return map(ExportTraceServiceRequest.FromString, self.bodies)

    def spans(self) -> list[Span]:
        """Return all spans."""
        return [
            span
            for request in self.requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, str]:
        """Return what is said of the process."""
        first = next(iter(self.requests())).resource_spans[0].resource
        return {one.key: one.value.string_value for one in first.attributes}

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Take in one export."""
        self.bodies.append(await request.read())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector on a free port."""
    collector = Collector()
    runner = web.ServerRunner(web.Server(collector.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    collector.url = f"http://{host}:{port}"
    try:
        yield collector
    finally:
        await runner.cleanup()
