"""Traces: from a request through its flight to what upstream is asked."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from roadstead.config.load import load
from roadstead.runtime import Running, running
from roadstead.runtime.tracing import make_tracer
from roadstead.simulator.faults import RequestKind, Stall, Status
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.telemetry.otel import OtelTracer
from roadstead.telemetry.tracing import UNTRACED
from tests.metadata.opened import until
from tests.runtime.started import url_of
from tests.support.collector import collecting
from tests.support.rig import APP
from tests.support.roadstead_process import RoadsteadProcess, free_port, start_roadstead

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_PARENT = {"traceparent": f"00-{_TRACE}-00f067aa0ba902b7-01"}
_SECRETS = {
    "query": "pl4nt-query-t0ken",
    "bearer": "pl4nt.bearer.t0ken",
    "agent": "pl4nt-agent-t0ken",
    "upstream": "pl4nt-upstream-p4ss",
    "cookie": "pl4nt-cookie",
}


class Traced:
    """A running mirror, and the spans that have ended."""

    def __init__(self, mirror: Running, exporter: InMemorySpanExporter) -> None:
        self.url = f"{url_of(mirror)}/v2/{APP}"
        self.mirror = mirror
        self._exporter = exporter

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return them, by name or all."""
        ended = self._exporter.get_finished_spans()
        return [span for span in ended if name in (None, span.name)]

    async def until(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Return spans of a name as soon as there are so many."""
        await until(lambda: len(self.spans(name)) >= count)
        return self.spans(name)


@contextlib.asynccontextmanager
async def traced(upstream: ScriptedRegistry, root: Path, **environ: str) -> AsyncIterator[Traced]:
    """Run a mirror whose spans stay in memory."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    given = {
        "REGISTRY_PROXY_REMOTEURL": upstream.url,
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root),
        "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
        **environ,
    }
    async with running(load(None, given), tracer=OtelTracer(provider)) as mirror:
        yield Traced(mirror, exporter)


def told(span: ReadableSpan) -> dict[str, object]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


async def get(client: ClientSession, url: str, **headers: str) -> int:
    """GET, whole; return the status."""
    async with client.get(url, headers=headers) as response:
        await response.read()
        return response.status


async def test_a_cold_blob_is_one_trace(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """The client's trace goes on: request, flight in it, and in that what upstream was asked."""
    blob = upstream.add_blob(APP, b"x" * 100_000)
    async with traced(upstream, tmp_path) as mirror:
        url = f"{mirror.url}/blobs/{blob.digest}"
        assert await get(client, f"{url}?ns=&x=1", **_PARENT) == 200
        [request] = await mirror.until("GET /v2/{name}/blobs/{digest}")
        [flight] = await mirror.until("fetch blob")
        [asked] = await mirror.until("GET")

    assert [f"{one.context.trace_id:032x}" for one in (request, flight, asked)] == [_TRACE] * 3
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert flight.parent == request.context
    assert asked.parent == flight.context
    host = upstream.url.removeprefix("http://")
    expected = {
        "http.request.method": "GET",
        "http.route": "/v2/{name}/blobs/{digest}",
        "http.response.status_code": 200,
        "http.response.body.size": 100_000,
        "url.path": f"/v2/{APP}/blobs/{blob.digest}",
        "client.address": "127.0.0.1",
        "roadstead.outcome": "miss",
        "roadstead.upstream": host,
    }
    assert expected.items() <= told(request).items()
    assert told(flight)["roadstead.bytes"] == 100_000
    assert told(asked) == {
        "http.request.method": "GET",
        "url.full": f"{upstream.url}/v2/{APP}/blobs/{blob.digest}",
        "server.address": "127.0.0.1",
        "server.port": int(host.rpartition(":")[2]),
        "http.response.status_code": 200,
    }
    assert not any("traceparent" in record.headers for record in upstream.requests)


async def test_traces_are_passed_on_where_that_is_configured(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """Small calls and blobs carry the trace to the upstream's own host."""
    image = upstream.add_image(APP, tag="latest")
    async with traced(upstream, tmp_path, REGISTRY_PROXY_TRACECONTEXT="true") as mirror:
        for path in ("manifests/latest", f"blobs/{image.blobs[0].digest}"):
            assert await get(client, f"{mirror.url}/{path}", **_PARENT) == 200
        await mirror.until("fetch blob")

    passed = [record.headers.get("traceparent", "") for record in upstream.requests]
    assert len(passed) >= 3
    assert all(one.startswith(f"00-{_TRACE}-") for one in passed)
    assert len(set(passed)) == len(passed)


async def test_who_joins_a_flight_is_linked_to_it(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """The flight is a part of the first request's trace; the others' point at it."""
    blob = upstream.add_blob(APP, b"x" * 100_000)
    release = asyncio.Event()
    upstream.inject(Stall(release=release), kind=RequestKind.BLOB)
    async with traced(upstream, tmp_path) as mirror:
        url = f"{mirror.url}/blobs/{blob.digest}"
        pulls = [asyncio.create_task(get(client, url)) for _ in range(3)]
        running = mirror.mirror.mirrors.running
        await until(lambda: [one.readers for one in running()] == [3])
        release.set()
        assert await asyncio.gather(*pulls) == [200] * 3
        await mirror.until("GET /v2/{name}/blobs/{digest}", 3)
        await mirror.until("fetch blob")
    [flight] = mirror.spans("fetch blob")

    requests = mirror.spans("GET /v2/{name}/blobs/{digest}")
    links = sorted([link.context for link in one.links] == [flight.context] for one in requests)
    assert links == [False, True, True]


async def test_a_repeated_request_has_a_span_too(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """Also if it is answered before a span could begin; each is a trace of its own."""
    upstream.add_image(APP, tag="latest")
    async with traced(upstream, tmp_path) as mirror:
        for _ in range(4):
            assert await get(client, f"{mirror.url}/manifests/latest") == 200
        spans = await mirror.until("GET /v2/{name}/manifests/{reference}", 4)

    assert [told(span)["roadstead.outcome"] for span in spans] == ["miss", "hit", "hit", "hit"]
    assert len({span.context.trace_id for span in spans}) == 4
    assert all(span.end_time >= span.start_time for span in spans)  # type: ignore[operator]
    assert {told(span)["network.peer.address"] for span in spans} == {"127.0.0.1"}


async def test_a_repeated_answer_that_breaks_off_is_a_failed_span(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """A held blob is sent without a span; one that a client does not take to its end has one."""
    blob = upstream.add_blob(APP, b"x" * 20_000_000)
    async with traced(upstream, tmp_path) as mirror:
        path = f"/v2/{APP}/blobs/{blob.digest}"
        head = f"GET {path} HTTP/1.1\r\nHost: m\r\n\r\n".encode()
        assert await get(client, f"{mirror.url}/blobs/{blob.digest}") == 200
        await mirror.until("fetch blob")
        for wanted in (20_000_000, 20_000_000, 1000):
            reader, writer = await asyncio.open_connection("127.0.0.1", mirror.mirror.port)
            writer.write(head)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(wanted)
            writer.transport.abort()
        spans = await mirror.until("GET /v2/{name}/blobs/{digest}", 4)

    assert [told(span).get("error.type") for span in spans] == [None, None, None, "broken off"]


async def test_failures_are_marked(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """By class or code, without the text, which may come from anywhere."""
    upstream.inject(Status(500))
    async with traced(upstream, tmp_path) as mirror:
        assert await get(client, f"{mirror.url}/manifests/latest") >= 500
        [request] = await mirror.until("GET /v2/{name}/manifests/{reference}")
        asked = mirror.spans("HEAD")

    assert not request.status.is_ok
    assert request.status.description is None
    assert told(request)["error.type"] == "unavailable"
    assert {told(span)["error.type"] for span in asked} == {"500"}


async def test_no_credential_is_traced(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """Not the client's, not upstream's, wherever they stand."""
    image = upstream.add_image(APP, tag="latest")
    upstream.require_basic("mirror", _SECRETS["upstream"])
    account = {
        "REGISTRY_PROXY_USERNAME": "mirror",
        "REGISTRY_PROXY_PASSWORD": _SECRETS["upstream"],
        "REGISTRY_PROXY_TRACECONTEXT": "true",
    }
    async with traced(upstream, tmp_path, **account) as mirror:
        for path in ("manifests/latest", f"blobs/{image.blobs[0].digest}", "tags/list"):
            headers = {
                "Authorization": f"Bearer {_SECRETS['bearer']}",
                "User-Agent": f"x?token={_SECRETS['agent']}",
                "Cookie": _SECRETS["cookie"],
                "tracestate": f"vendor={_SECRETS['cookie']}",
                "baggage": f"password={_SECRETS['cookie']}",
            }
            url = f"{mirror.url}/{path}?access_token={_SECRETS['query']}"
            assert await get(client, url, **headers) == 200
        await mirror.until("fetch blob")
    spans = [json.loads(span.to_json()) for span in mirror.spans()]

    assert len(spans) > 6
    shown = json.dumps(spans)
    assert [name for name, secret in _SECRETS.items() if secret in shown] == []


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, ""),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, ""),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin'; use otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "'grpc'; use http/protobuf",
        ),
    ],
)
def test_without_a_wish_there_are_no_traces(environ: dict[str, str], problem: str) -> None:
    """And a wish that cannot be met is answered with what can be."""
    tracer, said = make_tracer(environ)

    assert tracer is UNTRACED
    assert problem in said


@contextlib.asynccontextmanager
async def _process(
    upstream: ScriptedRegistry, root: Path, environment: dict[str, str]
) -> AsyncIterator[RoadsteadProcess]:
    """Run a mirror in a process of its own, which has to end in time, with status 0."""
    document = {
        "storage": {"filesystem": {"rootdirectory": str(root)}},
        "proxy": {"remoteurl": upstream.url},
    }
    stack = contextlib.ExitStack()
    start = start_roadstead(document, environment=environment)
    mirror = await asyncio.to_thread(stack.enter_context, start)
    try:
        yield mirror
    finally:
        await asyncio.to_thread(stack.close)


async def test_the_environment_sends_traces_to_a_collector(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """The standard variables, in a process of its own; what is held at the stop is sent."""
    upstream.add_image(APP, tag="latest")
    async with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=abc",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        async with _process(upstream, tmp_path, environment) as mirror:
            assert await get(client, f"{mirror.url}/v2/{APP}/manifests/latest", **_PARENT) == 200

    names = {span.name for span in collector.spans()}
    assert {"GET /v2/{name}/manifests/{reference}", "HEAD", "GET"} <= names
    assert _TRACE in {span.trace_id.hex() for span in collector.spans()}
    resource = collector.resource()
    assert resource["service.name"] == "roadstead"
    assert resource["deployment.environment.name"] == "test"
    assert collector.headers[0]["x-key"] == "abc"


async def test_a_collector_that_is_away_delays_nobody(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """Requests are served, and the process stops cleanly."""
    upstream.add_image(APP, tag="latest")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    async with _process(upstream, tmp_path, environment) as mirror:
        assert await get(client, f"{mirror.url}/v2/{APP}/manifests/latest") == 200
        assert "Traceback" not in mirror.log
