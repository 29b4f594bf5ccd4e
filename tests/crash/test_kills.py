"""A mirror with limits, killed again and again while clients pull and garbage is collected.

``ROADSTEAD_KILLS`` is how often; `make test` does it a few times, 200 take four minutes.
"""

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from roadstead.simulator.content import GeneratedContent, SimulatedImage
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.roadstead_process import (
    RoadsteadProcess,
    clean_environment,
    free_port,
    start_roadstead,
)

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1200)]

_KILLS = int(os.environ.get("ROADSTEAD_KILLS", "15"))
_CLIENTS = 6
_IMAGES = 30
_PINNED = 3
_LAYER_BYTES = 300_000
# About a third of all images.
_LIMIT_BYTES = _IMAGES * 2 * _LAYER_BYTES // 3


@dataclass(slots=True)
class Pulls:
    """Clients that pull images at random, and what they got."""

    url: str
    images: dict[str, SimulatedImage]
    random: Random
    results: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: bool = False

    async def client(self) -> None:
        """Pull until it is over; a broken connection is the kill's, wrong bytes are not."""
        async with ClientSession(timeout=ClientTimeout(total=30)) as session:
            while not self.over:
                name = self.random.choice(list(self.images))
                try:
                    await self.pull(session, name)
                except (ClientError, OSError, TimeoutError):
                    self.results["broken off"] += 1
                    await asyncio.sleep(0.01)
                else:
                    self.results["whole"] += 1

    async def pull(self, session: ClientSession, name: str) -> bool:
        """Pull one image as a client does, and hash all of it; say whether all of it was held."""
        image = self.images[name]
        base = f"{self.url}/v2/{name}"
        await self._get(session, f"{base}/manifests/latest", str(image.manifest_digest))
        outcomes = [
            await self._get(session, f"{base}/blobs/{blob.digest}", str(blob.digest))
            for blob in image.blobs
        ]
        return set(outcomes) == {"hit"}

    async def _get(self, session: ClientSession, url: str, digest: str) -> str:
        async with session.get(url) as response:
            body = await response.read()
        if response.status != 200:
            self.wrong.append(f"{response.status} for {url}: {body[:200]!r}")
        elif f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            self.wrong.append(f"wrong bytes for {url}")
        return response.headers.get("X-Roadstead-Outcome", "")


async def test_nothing_wrong_is_served_and_nothing_pinned_is_lost(
    tmp_path: Path, figures: Figures
) -> None:
    """Whatever the moment: while blobs arrive, images are evicted, garbage is collected."""
    random = Random(4)  # noqa: S311 - chooses moments to kill at, guards nothing
    port = free_port()
    async with ScriptedRegistry() as upstream:
        images = {f"library/app{number}": _push(upstream, number) for number in range(_IMAGES)}
        configuration = _write_configuration(tmp_path, upstream.url)
        pulls = Pulls(f"http://127.0.0.1:{port}", images, random)
        pinned = list(images)[:_PINNED]
        async with ClientSession() as session, _served(configuration, port):
            for name in pinned:
                # Once to fetch it, and once to see that it is held.
                while not await pulls.pull(session, name):
                    pass
        collections = asyncio.create_task(_collect(configuration, pulls, random))
        clients = [asyncio.create_task(pulls.client()) for _ in range(_CLIENTS)]
        for _ in range(_KILLS):
            async with _served(configuration, port):
                await asyncio.sleep(random.uniform(0.02, 2.0))
        pulls.over = True
        await asyncio.gather(collections, *clients)
    # Upstream is gone: what is served now was held through all of it.
    async with ClientSession() as session, _served(configuration, port):
        for name in pinned:
            await pulls.pull(session, name)

    assert pulls.wrong == []
    figures.add(
        f"kill -9, {_KILLS} times under {_CLIENTS} clients, eviction and collections: "
        f"{dict(pulls.results)}, no wrong byte, {_PINNED} of {_PINNED} pinned images whole"
    )


def _push(upstream: ScriptedRegistry, number: int) -> SimulatedImage:
    layers = [GeneratedContent(_LAYER_BYTES, 2 * number + which) for which in range(2)]
    return upstream.add_image(f"library/app{number}", tag="latest", layers=layers)


def _write_configuration(folder: Path, upstream_url: str) -> Path:
    path = folder / "config.yml"
    host = upstream_url.removeprefix("http://")
    pins = ", ".join(f"'{host}/library/app{number}:*'" for number in range(_PINNED))
    path.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'store'}}}}}\n"
        f"proxy: {{remoteurl: '{upstream_url}'}}\n"
        f"retention: {{maxsize: {_LIMIT_BYTES}, grace: 1s, pins: [{pins}]}}\n"
    )
    return path


@contextlib.asynccontextmanager
async def _served(configuration: Path, port: int) -> AsyncIterator[RoadsteadProcess]:
    """Run the mirror until it is killed, in threads, so that clients go on meanwhile."""
    starting = start_roadstead(configuration, port=port)
    mirror = await asyncio.to_thread(starting.__enter__)
    try:
        yield mirror
    finally:
        await asyncio.to_thread(mirror.kill)
        await asyncio.to_thread(starting.__exit__, None, None, None)


async def _collect(configuration: Path, pulls: Pulls, random: Random) -> None:
    """Collect garbage all the time, in processes of their own; every third one is killed too."""
    command = (sys.executable, "-m", "roadstead", "garbage-collect", str(configuration), "-m", "-q")
    while not pulls.over:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if random.random() < 1 / 3:
            await asyncio.sleep(random.uniform(0.3, 0.8))
            if process.returncode is None:
                process.kill()
        pulls.results[f"collections that ended with {await process.wait()}"] += 1
