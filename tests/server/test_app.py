"""The life of a request: what no handler foresaw, and what needs none."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from roadstead.server.app import RegistryApp
from roadstead.server.endpoints import Endpoint
from roadstead.server.incoming import Incoming
from roadstead.server.listener import Listener
from roadstead.server.registry import RegistryHandlers
from roadstead.telemetry.answered import Exchange, Whole
from roadstead.telemetry.events import Event, RequestEnded, RequestStarted
from tests.support.rig import APP, Rig


class BrokenHandlers(RegistryHandlers):
    """Handlers with a mistake in them."""

    async def handle(self, incoming: Incoming, endpoint: Endpoint) -> web.StreamResponse:
        """Fail as a mistake in the program does."""
        message = f"oops at {incoming.method} {endpoint.label}"
        raise LookupError(message)


@asynccontextmanager
async def broken(
    rig: Rig, told: list[Event], exchanges: list[Exchange]
) -> AsyncIterator[ClientSession]:
    """Serve with broken handlers, and give a client."""
    handlers = BrokenHandlers(
        rig.mirrors, catalog_max_entries=1, tags_max_entries=1, observe=told.append
    )
    app = RegistryApp(
        handlers,
        is_upstream=rig.mirrors.knows,
        listener=None,
        extra_headers={},
        prefix="/",
        standing=rig,
        observe=told.append,
        report=Whole(exchanges.append),
    )
    listener = Listener(app, drain_seconds=0)
    port = await listener.listen_tcp("127.0.0.1", 0)
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await listener.aclose()


async def test_a_mistake_is_one_request_s_trouble(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered in the spec's form without its text, logged in full, and counted."""
    told: list[Event] = []
    exchanges: list[Exchange] = []
    body = b""

    async with broken(rig, told, exchanges) as client:
        for _ in range(2):
            async with client.get(f"/v2/{APP}/manifests/latest") as response:
                body = await response.read()
                assert response.status == 500

    assert json.loads(body)["errors"][0]["code"] == "UNKNOWN"
    assert b"oops" not in body
    assert "oops at GET manifest" in caplog.text
    assert exchanges[0].error_detail == "LookupError: oops at GET manifest"
    assert told.count(RequestStarted("manifest")) == 2
    assert [event.status for event in told if isinstance(event, RequestEnded)] == [500, 500]


async def test_options_tell_the_verbs(client: ClientSession) -> None:
    """What a path allows is told without a question to anybody."""
    async with client.options(f"/v2/{APP}/manifests/latest") as response:
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["Allow"] == "GET, HEAD"
