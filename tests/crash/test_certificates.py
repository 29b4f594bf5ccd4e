"""Certificates are replaced under load, and no connection breaks."""

import asyncio
import contextlib
import hashlib
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from roadstead.simulator.content import GeneratedContent, SimulatedImage
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.certificates import Authority, Certificate
from tests.support.load import under_load
from tests.support.rig import APP
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

_REPLACED = 5
_BETWEEN = 200
_LAYER_BYTES = 20_000_000
_PIECE_BYTES = 64 * 1024


@dataclass(slots=True)
class Site:
    """A mirror with a certificate, in a process of its own."""

    process: RoadsteadProcess
    authority: Authority
    place: Certificate
    context: ssl.SSLContext
    image: SimulatedImage

    @property
    def url(self) -> str:
        """Where the image is."""
        return f"https://127.0.0.1:{self.process.port}/v2/{APP}"

    def install(self, name: str) -> None:
        """Put a new certificate in its place, as a tool that renews certificates does."""
        made = self.authority.issue(name)
        for source, target in ((made.key, self.place.key), (made.file, self.place.file)):
            source.replace(target)

    async def shown(self) -> str:
        """Return the common name that a new connection is shown."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.process.port, ssl=self.context)
        subject = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
        writer.close()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
        return str(subject["commonName"])

    async def download(self) -> bool:
        """Take the layer slowly over one connection; say whether every byte was right."""
        (layer,) = self.image.layers
        hasher = hashlib.sha256()
        async with (
            ClientSession(connector=TCPConnector(ssl=self.context)) as session,
            session.get(f"{self.url}/blobs/{layer.digest}") as response,
        ):
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                hasher.update(piece)
                await asyncio.sleep(0.02)
        return f"sha256:{hasher.hexdigest()}" == str(layer.digest)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Start a mirror that holds an image."""
    authority = Authority(tmp_path)
    place = Certificate(tmp_path / "mirror.crt", tmp_path / "mirror.key")
    context = ssl.create_default_context(cafile=authority.certificate.file)
    async with ScriptedRegistry() as upstream:
        image = upstream.add_image(
            APP, tag="latest", layers=[GeneratedContent(_LAYER_BYTES, seed=1)]
        )
        first = authority.issue("first")
        first.key.replace(place.key)
        first.file.replace(place.file)
        starting = start_roadstead(
            {
                "log": {"level": "info", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}},
                "http": {"tls": {"certificate": str(place.file), "key": str(place.key)}},
                "proxy": {"remoteurl": upstream.url, "tagttl": "1h"},
            },
            tls=True,
        )
        process = await asyncio.to_thread(starting.__enter__)
        made = Site(process, authority, place, context, image)
        try:
            yield made
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


@pytest.mark.parametrize("by_signal", [False, True], ids=["file", "SIGHUP"])
async def test_a_new_certificate_breaks_no_connection(
    site: Site, figures: Figures, *, by_signal: bool
) -> None:
    """Five times, by file alone or with SIGHUP; a slow download goes on through all of it."""
    async with under_load(f"{site.url}/manifests/latest", site.context) as load:
        downloads = [asyncio.create_task(site.download()) for _ in range(2)]
        for number in range(_REPLACED):
            await load.more(_BETWEEN)
            site.install(f"number{number}")
            if by_signal:
                site.process.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(30):
                while await site.shown() != f"number{number}":
                    pass
        await load.more(_BETWEEN)
        assert await asyncio.gather(*downloads) == [True, True]
    figures.add(
        f"certificate replaced {_REPLACED} times {'and SIGHUP' if by_signal else 'by file'}: "
        f"{load.answered} requests, {load.lost.total()} connections broken, "
        f"{load.closing} told to close; 2 downloads whole"
    )
