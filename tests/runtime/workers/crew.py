"""A keeper and workers, all in this process: what they share goes through channels and store."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from roadstead.config.load import load
from roadstead.runtime.process import Part, Running, running
from roadstead.runtime.workers.channel import Channel
from roadstead.runtime.workers.desk import Desk
from roadstead.runtime.workers.office import Office
from roadstead.simulator.registry import ScriptedRegistry

_COUNT = 2


@dataclass(slots=True)
class Worker:
    """A worker, and what ends it as a crash does: without a last word."""

    mirror: Running
    desk: Desk
    channel: Channel
    serving: "asyncio.Task[None]"

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.mirror.port}"

    async def break_off(self) -> None:
        """Cut its channel."""
        self.channel.close()
        await asyncio.gather(self.serving, return_exceptions=True)


@dataclass(slots=True)
class Crew:
    """All of them."""

    keeper: Running
    office: Office
    workers: list[Worker]
    client: ClientSession

    async def get(
        self,
        worker: int,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Ask one worker."""
        url = f"{self.workers[worker].url}{path}"
        async with self.client.request(method, url, headers=headers) as response:
            return response.status, await response.read()

    async def status(self) -> Mapping[str, Any]:
        """Ask the keeper how all stand."""
        async with self.client.get(f"http://127.0.0.1:{self.keeper.debug_port}/debug/status") as r:
            document: Mapping[str, Any] = await r.json()
            return document

    async def metrics(self) -> dict[str, float]:
        """Scrape the keeper."""
        async with self.client.get(f"http://127.0.0.1:{self.keeper.debug_port}/metrics") as r:
            lines = (await r.text()).splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


@contextlib.asynccontextmanager
async def made_crew(upstream: ScriptedRegistry, root: Path, **environ: str) -> AsyncIterator[Crew]:
    """Start them over ``root``; ``environ`` are further REGISTRY_* variables."""
    given = {
        "REGISTRY_PROXY_REMOTEURL": upstream.url,
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root),
        "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
        "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0",
        "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
        "REGISTRY_HTTP_WORKERS": str(_COUNT),
        **environ,
    }
    loaded = load(None, given)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(ClientSession())
        office = Office()
        keeper = await stack.enter_async_context(running(loaded, part=Part(office=office)))
        space = keeper.readiness.board.space
        assert space is not None
        office.keeper, office.mirrors = space.keeper, keeper.mirrors
        workers = []
        for number in range(_COUNT):
            ours, theirs = socket.socketpair()
            seat = office.enter(await Channel.over(ours), number)
            serving = asyncio.create_task(office.serve(seat))
            channel = await Channel.over(theirs)
            desk = Desk(channel)
            desk_running = asyncio.create_task(desk.run())
            stack.push_async_callback(asyncio.wait, {desk_running, serving})
            stack.callback(channel.close)
            mirror = await stack.enter_async_context(running(loaded, part=Part(desk=desk)))
            desk.ready()
            workers.append(Worker(mirror, desk, channel, serving))
        await asyncio.gather(*(one.ready.wait() for one in office.seats))
        yield Crew(keeper, office, workers, client)
