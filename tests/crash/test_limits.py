"""``roadstead serve`` with limits, from outside: what is served, what is held, what `du` says."""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession

from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.roadstead_process import (
    RoadsteadProcess,
    clean_environment,
    free_port,
    installed,
    start_roadstead,
)

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

Section: TypeAlias = Mapping[str, object]

LAYER = 400_000
CLIENTS = 4
SEED = 5


@dataclass(frozen=True, slots=True)
class Volume:
    """What lies below a root, as programs see it that know nothing of the mirror."""

    root: Path

    def data(self) -> list[Path]:
        """List the data files; what goes meanwhile is no matter."""
        return [path for path in _files(self._volume / "blobs") if path.name == "data"]

    def links(self) -> list[Path]:
        """List the links, whatever they are of."""
        return list(self._volume.glob("repositories/**/link"))

    def data_bytes(self) -> int:
        """Sum up data, and what is arriving: in this order, so that nothing counts twice."""
        return sum(map(_size, (*self.data(), *_files(self.root / "roadstead/partial"))))

    def held(self, under: str) -> dict[str, int]:
        """Return repositories below ``under`` whose layers are there, with the bytes of these."""
        sizes = {path.parts[-2]: _size(path) for path in self.data()}
        held: dict[str, int] = {}
        for link in self._volume.glob(f"repositories/{under}/*/_layers/*/*/link"):
            size = sizes.get(link.parts[-2], 0)
            if size >= LAYER:
                held[link.parts[-5]] = held.get(link.parts[-5], 0) + size
        return held

    def disk_usage(self, path: str) -> int:
        """Ask ``du`` for bytes, all blocks counted."""
        command = ["du", "-s", "--block-size=1", str(self.root / path)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout.split()[0])

    @property
    def _volume(self) -> Path:
        return self.root / "docker/registry/v2"


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror in a process of its own."""

    process: RoadsteadProcess
    debug_url: str
    volume: Volume

    async def status(self) -> dict[str, Any]:
        """Return the document of ``roadstead status``."""
        async with ClientSession() as session, session.get(f"{self.debug_url}/debug/status") as got:
            document: dict[str, Any] = await got.json()
            return document

    async def pull(self, name: str) -> None:
        """Pull an image, and check every byte."""
        async with PullingClient(self.process.url) as client:
            pulled = await client.pull(name, "latest")
        assert pulled.failure == ""

    async def landed(self) -> None:
        """Wait until nothing is arriving."""
        async with asyncio.timeout(30):
            while (await self.status())["flights"]:
                pass

    async def steer(self, *arguments: str) -> dict[str, Any]:
        """Run a command of ``roadstead`` in a process of its own."""
        process = await asyncio.create_subprocess_exec(
            *(installed("roadstead"), *arguments, "--json", "--mirror", self.debug_url),
            env=clean_environment(),
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        document: dict[str, Any] = json.loads(output)
        return document


@contextlib.asynccontextmanager
async def served(
    upstream: ScriptedRegistry, root: Path, *, proxy: Section | None = None, **sections: Section
) -> AsyncIterator[Mirror]:
    """Run a mirror until the end of the context, in threads: upstream is in this one's loop."""
    debug = free_port()
    starting = start_roadstead(
        {
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root)}},
            "http": {"debug": {"addr": f"127.0.0.1:{debug}"}},
            "proxy": {"remoteurl": upstream.url, **(proxy or {})},
            **sections,
        }
    )
    process = await asyncio.to_thread(starting.__enter__)
    mirror = Mirror(process, f"http://127.0.0.1:{debug}", Volume(root))
    try:
        async with asyncio.timeout(30):
            while (await mirror.status())["metadata"]["condition"] != "whole":
                pass
        yield mirror
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


def push(upstream: ScriptedRegistry, under: str, count: int, *, first: int = 0) -> list[str]:
    """Add images of one layer each; return their names."""
    names = [f"{under}/app{number}" for number in range(first, first + count)]
    for number, name in enumerate(names, first):
        upstream.add_image(name, tag="latest", layers=[GeneratedContent(LAYER, number)])
    return names


async def test_each_upstream_keeps_its_own_limit(tmp_path: Path) -> None:
    """Six images from each through stores for three and for two, pulled in turn."""
    async with ScriptedRegistry() as upstream, ScriptedRegistry() as other:
        push(upstream, "library", 6)
        push(other, "team", 6, first=100)
        async with served(
            upstream,
            tmp_path,
            proxy={"retention": {"maxsize": 7 * LAYER // 2}},
            upstreams={"other": {"remoteurl": other.url, "retention": {"maxsize": 5 * LAYER // 2}}},
            retention={"grace": "0s"},
        ) as mirror:
            held: list[dict[str, int]] = [{}, {}]
            for number in range(6):
                for name in (f"library/app{number}", f"other/team/app{100 + number}"):
                    await mirror.pull(name)
                    await mirror.landed()
                    held = [mirror.volume.held(one) for one in ("library", "other/team")]
                    assert sum(held[0].values()) <= 3 * LAYER
                    assert sum(held[1].values()) <= 2 * LAYER
            assert set(held[0]) == {"app3", "app4", "app5"}
            assert set(held[1]) == {"app104", "app105"}
            limits = (await mirror.status())["retention"]["limits"]
            assert all(LAYER < one["used_bytes"] <= one["max_bytes"] for one in limits)


async def test_evicting_beside_pulls_harms_none_of_them(tmp_path: Path, figures: Figures) -> None:
    """Everything is evicted again and again while clients pull it; what is pinned stays."""
    async with ScriptedRegistry() as upstream, served(upstream, tmp_path) as mirror:
        names = push(upstream, "library", 80)
        pinned = await mirror.steer("pin", names[0])
        assert not pinned["images"]
        await mirror.pull(names[0])
        over = asyncio.Event()
        pulls = 0

        async def pull(random: Random) -> None:
            nonlocal pulls
            while not over.is_set():
                await mirror.pull(random.choice(names))
                pulls += 1

        random = Random(SEED)  # noqa: S311 - chooses images, guards nothing
        clients = [asyncio.create_task(pull(random)) for _ in range(CLIENTS)]
        evicted = 0
        for _ in range(6):
            done = await mirror.steer("evict", "**", "--yes")
            evicted += done["evicted"]
            assert not any(one["image"].endswith("app0:latest") for one in done["images"])
        over.set()
        await asyncio.gather(*clients)
        await mirror.landed()

        assert "app0" in mirror.volume.held("library")
        assert evicted > 0
        log = mirror.process.log
        assert log.count("an image was evicted") == evicted
        assert "level=error" not in log
    figures.add(f"evict beside {CLIENTS} clients: {pulls} pulls right, {evicted} images evicted")


async def test_a_limit_holds_without_a_schedule(tmp_path: Path, figures: Figures) -> None:
    """Looked at from outside all the time, while four clients pull four times what fits."""
    limit = 5 * LAYER
    async with (
        ScriptedRegistry() as upstream,
        served(upstream, tmp_path, retention={"maxsize": limit, "grace": "0s"}) as mirror,
    ):
        names = iter(push(upstream, "library", 20))
        highest = looks = 0
        over = asyncio.Event()

        async def look() -> None:
            nonlocal highest, looks
            while not over.is_set():
                highest = max(highest, await asyncio.to_thread(mirror.volume.data_bytes))
                looks += 1

        async def pull() -> None:
            for name in names:
                await mirror.pull(name)

        looking = asyncio.create_task(look())
        await asyncio.gather(*(pull() for _ in range(CLIENTS)))
        over.set()
        await looking
        await mirror.landed()

        assert highest <= limit
        assert (await mirror.status())["retention"]["next_run"] is None
        assert len(mirror.volume.held("library")) >= 3
    figures.add(f"keeper alone: at most {highest:,} of {limit:,} bytes in {looks} looks")


async def test_what_du_shows_beyond_what_is_counted(tmp_path: Path, figures: Figures) -> None:
    """Used bytes are those of the data files; du adds blocks and directories, within bounds."""
    block = 4096
    async with (
        ScriptedRegistry() as upstream,
        served(upstream, tmp_path, retention={"maxsize": "1GB"}) as mirror,
    ):
        for name in push(upstream, "library", 20):
            await mirror.pull(name)
        await mirror.landed()
        (limit,) = (await mirror.status())["retention"]["limits"]
        volume = mirror.volume
        data, links = volume.data(), volume.links()
        of_blobs = volume.disk_usage("docker/registry/v2/blobs")
        of_links = volume.disk_usage("docker/registry/v2/repositories")

        assert limit["used_bytes"] == sum(map(_size, data)) == volume.data_bytes()
        # The last block, the directory, and that of the first two digits, of each blob.
        assert of_blobs - limit["used_bytes"] <= (3 * len(data) + 2) * block
        # Directories up to the repository are shared by its links.
        assert of_links <= (5 * len(links) + 8 * 20) * block
    figures.add(
        f"du: {limit['used_bytes']:,} bytes counted in {len(data)} files; du says {of_blobs:,} for "
        f"them, and {of_links:,} for {len(links)} links of 20 images, "
        f"{volume.disk_usage('roadstead'):,} for the database and its log"
    )


def _files(directory: Path) -> list[Path]:
    return [Path(folder, name) for folder, _, names in os.walk(directory) for name in names]


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
