"""A new process takes over from an old one under load, and no request is lost."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from roadstead.simulator.registry import ScriptedRegistry
from tests.support.rig import APP

pytestmark = pytest.mark.crash

_RESTARTS = 5
_CLIENTS = 16
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "roadstead", "serve", sys.argv[2]])
"""


@dataclass(slots=True)
class Load:
    """Clients that ask without a pause, half of them on a new connection each time."""

    url: str
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    stopping: bool = False

    async def client(self, *, keep_alive: bool) -> None:
        """Ask until it is over."""
        async with ClientSession(connector=TCPConnector(force_close=not keep_alive)) as session:
            while not self.stopping:
                try:
                    async with session.get(self.url) as response:
                        await response.read()
                        assert response.status == 200, response.status
                except (ClientError, OSError, AssertionError) as error:
                    self.lost.append(repr(error))
                self.answered += 1


@contextlib.asynccontextmanager
async def _one(config: Path, held: socket.socket) -> AsyncIterator[None]:
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
        assert await asyncio.to_thread(manager.recv, 100) == b"READY=1"
        yield
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_rolling_restart_loses_no_request(tmp_path: Path) -> None:
    """The next process is ready before the last one stands down; the socket is the same."""
    async with ScriptedRegistry() as upstream:
        upstream.add_image(APP, tag="latest")
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as held:
            port = held.getsockname()[1]
            config = tmp_path / "config.yml"
            config.write_text(
                "version: 0.1\n"
                f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'store'}}}}}\n"
                f'http: {{addr: "127.0.0.1:{port}", shutdowndelay: 500ms}}\n'
                f'proxy: {{remoteurl: "{upstream.url}", tagttl: 1h}}\n'
            )
            load = Load(f"http://127.0.0.1:{port}/v2/{APP}/manifests/latest")
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(_one(config, held))
                clients = [
                    asyncio.create_task(load.client(keep_alive=bool(number % 2)))
                    for number in range(_CLIENTS)
                ]
                for _ in range(_RESTARTS):
                    old = stack.pop_all()
                    await stack.enter_async_context(_one(config, held))
                    await old.aclose()
                load.stopping = True
                await asyncio.gather(*clients)

    assert load.lost == []
    assert load.answered > _RESTARTS * _CLIENTS
