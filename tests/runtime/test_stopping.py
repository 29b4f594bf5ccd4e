"""A mirror that stops: gently, within its time, and with nothing left behind."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientPayloadError, ClientSession

from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started, url_of
from tests.support.rig import APP

CONTENT = bytes(range(256)) * 8000


async def test_a_download_under_way_may_finish(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """While it does, nobody new is let in; the process ends when it is done."""
    release = asyncio.Event()
    blob = upstream.add_blob(APP, CONTENT)
    upstream.inject(faults.Stall(after=500_000, release=release), kind=RequestKind.BLOB)

    async with contextlib.AsyncExitStack() as stack:
        mirror = await stack.enter_async_context(started(upstream, tmp_path))
        url = url_of(mirror)
        response = await client.get(f"{url}/v2/{APP}/blobs/{blob.digest}")
        begun = await response.content.readexactly(400_000)
        stopping = asyncio.ensure_future(stack.pop_all().aclose())
        async with asyncio.timeout(20):
            while True:
                try:
                    async with ClientSession() as stranger:
                        await stranger.get(f"{url}/v2/")
                except ClientError:
                    break
        assert not stopping.done()
        release.set()
        rest = await response.content.read()
        await stopping

    assert begun + rest == CONTENT


async def test_a_download_that_takes_too_long_is_broken_off_and_kept(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Behind ``draintimeout`` the client sees a break, and the next process resumes."""
    blob = upstream.add_blob(APP, CONTENT)
    stall = upstream.inject(faults.Stall(after=500_000), kind=RequestKind.BLOB)

    async with started(upstream, tmp_path, REGISTRY_HTTP_DRAINTIMEOUT="50ms") as mirror:
        response = await client.get(f"{url_of(mirror)}/v2/{APP}/blobs/{blob.digest}")
        await response.content.readexactly(400_000)
    with pytest.raises(ClientPayloadError):
        await response.read()
    upstream.withdraw(stall)
    upstream.requests.clear()

    async with (
        started(upstream, tmp_path) as mirror,
        client.get(f"{url_of(mirror)}/v2/{APP}/blobs/{blob.digest}") as response,
    ):
        assert await response.read() == CONTENT
    (request,) = upstream.requests
    assert request.headers["range"] == "bytes=500000-"


async def test_an_upstream_that_does_not_answer_holds_no_stop_up(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """At the end of the drain a blob is given up whose headers would be waited for longer."""
    blob = upstream.add_blob(APP, CONTENT)
    upstream.inject(faults.Stall(), kind=RequestKind.BLOB)

    async with asyncio.timeout(20):
        async with started(upstream, tmp_path, REGISTRY_HTTP_DRAINTIMEOUT="50ms") as mirror:
            url = f"{url_of(mirror)}/v2/{APP}/blobs/{blob.digest}"
            asking = asyncio.ensure_future(client.get(url))
            while not upstream.requests:
                await (await client.get(f"{url_of(mirror)}/v2/")).read()
        with pytest.raises(ClientError):
            await asking


async def test_a_request_that_is_broken_off_is_logged(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its line says why, so that a client's report can be understood."""
    upstream.add_image(APP, tag="latest")
    upstream.inject(faults.Stall())
    keys = {"REGISTRY_HTTP_DRAINTIMEOUT": "20ms", "REGISTRY_LOG_FORMATTER": "json"}

    async with started(upstream, tmp_path, **keys) as mirror:
        asking = asyncio.ensure_future(client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest"))
        async with asyncio.timeout(20):
            while not upstream.requests:
                # A request of one's own gives the other one its turns.
                await (await client.get(f"{url_of(mirror)}/v2/")).read()
    with pytest.raises(ClientError):
        await asking

    records = map(json.loads, capfd.readouterr().err.splitlines())
    (record,) = [found for found in records if "err.message" in found]
    assert record["err.message"] == "the server is stopping"


async def test_nothing_is_left_behind(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """After the stop no task and no listener of the mirror is there."""
    blob = upstream.add_blob(APP, CONTENT)
    tasks = asyncio.all_tasks()

    async with started(upstream, tmp_path, REGISTRY_HTTP_DEBUG_ADDR="127.0.0.1:0") as mirror:
        async with client.get(f"{url_of(mirror)}/v2/{APP}/blobs/{blob.digest}") as response:
            await response.read()
        ports = [mirror.port, mirror.debug_port]
    await upstream.stop()

    assert asyncio.all_tasks() == tasks
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
