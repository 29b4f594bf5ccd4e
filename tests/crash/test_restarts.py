"""A new process takes over from an old one under load, and no request is lost."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.load import under_load
from tests.support.rig import APP

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

_RESTARTS = 5
# Requests that are answered between two restarts.
_BETWEEN = 500
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "roadstead", "serve", sys.argv[2]])
"""


@dataclass(slots=True)
class Started:
    """A mirror in a process of its own, and the socket on which it tells how it stands."""

    process: asyncio.subprocess.Process
    manager: socket.socket

    async def told(self) -> bytes:
        """Wait for the next notification."""
        return await asyncio.to_thread(self.manager.recv, 100)


@contextlib.asynccontextmanager
async def _one(config: Path, held: socket.socket) -> AsyncIterator[Started]:
    """Run a mirror on a socket that others listen on too, until it has stood down and stopped."""
    name = str(config.with_suffix(f".{os.urandom(4).hex()}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LAUNCH, str(held.fileno()), str(config)),
            pass_fds=[held.fileno()],
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": name},
        )
        manager.settimeout(20)
        started = Started(process, manager)
        assert await started.told() == b"READY=1"
        yield started
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[tuple[Path, socket.socket, str]]:
    """Give a configuration, the socket that it is for, and a URL to ask."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as held:
        port = held.getsockname()[1]
        async with ScriptedRegistry() as upstream:
            upstream.add_image(APP, tag="latest")
            config = tmp_path / "config.yml"
            config.write_text(
                "version: 0.1\n"
                f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'store'}}}}}\n"
                f'http: {{addr: "127.0.0.1:{port}", shutdowndelay: 500ms}}\n'
                f'proxy: {{remoteurl: "{upstream.url}", tagttl: 1h}}\n'
            )
            yield config, held, f"http://127.0.0.1:{port}/v2/{APP}/manifests/latest"


async def test_a_rolling_restart_loses_no_request(
    site: tuple[Path, socket.socket, str], figures: Figures
) -> None:
    """The next process is ready before the last one stands down; the socket is the same."""
    config, held, url = site
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_one(config, held))
        async with under_load(url) as load:
            for _ in range(_RESTARTS):
                await load.more(_BETWEEN)
                old = stack.pop_all()
                await stack.enter_async_context(_one(config, held))
                await old.aclose()
    figures.add(f"{_RESTARTS} rolling restarts: {load.answered} requests, {load.lost.total()} lost")


async def test_reloads_lose_no_request(
    site: tuple[Path, socket.socket, str], figures: Figures
) -> None:
    """SIGHUP five times; each generation finishes what it was asked."""
    config, held, url = site
    async with _one(config, held) as started, under_load(url) as load:
        for _ in range(_RESTARTS):
            await load.more(_BETWEEN)
            started.process.send_signal(signal.SIGHUP)
            assert [await started.told(), await started.told()] == [b"RELOADING=1", b"READY=1"]
        await load.more(_BETWEEN)
    figures.add(f"{_RESTARTS} reloads: {load.answered} requests, {load.lost.total()} lost")
