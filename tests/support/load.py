"""Clients that ask without a pause, and notice whatever is lost."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, TCPConnector

_CLIENTS = 16


@dataclass(slots=True)
class Load:
    """Clients that ask for ``url``, half of them on a new connection each time.

    A request whose connection ends without an answer is lost: none is repeated behind our back.
    """

    url: str
    tls: ssl.SSLContext | None = None
    answered: int = 0
    closing: int = 0
    """How many answers said that their connection is over."""
    lost: Counter[str] = field(default_factory=Counter)
    stopping: bool = False
    _wanted: tuple[int, asyncio.Event] | None = None

    async def more(self, requests: int) -> None:
        """Wait until so many more are answered."""
        reached = asyncio.Event()
        self._wanted = (self.answered + requests, reached)
        await reached.wait()

    async def client(self, *, keep_alive: bool) -> None:
        """Ask until it is over."""
        connector = TCPConnector(force_close=not keep_alive, ssl=self.tls or True)
        async with ClientSession(connector=connector) as session:
            session._retry_connection = False
            while not self.stopping:
                try:
                    async with session.get(self.url) as response:
                        await response.read()
                        assert response.status == 200, response.status
                        self.closing += (
                            keep_alive and response.headers.get("Connection", "") == "close"
                        )
                except (ClientError, OSError, AssertionError) as error:
                    self.lost[f"{error!r}, {keep_alive=}"] += 1
                self.answered += 1
                if self._wanted is not None and self.answered >= self._wanted[0]:
                    self._wanted[1].set()


@contextlib.asynccontextmanager
async def under_load(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Load]:
    """Ask all the time; no request may be lost."""
    load = Load(url, tls)
    clients = [
        asyncio.create_task(load.client(keep_alive=bool(number % 2))) for number in range(_CLIENTS)
    ]
    yield load
    load.stopping = True
    await asyncio.gather(*clients)
    assert load.lost == {}, f"{load.lost} of {load.answered}"
