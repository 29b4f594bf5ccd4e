"""The demonstration: an upstream, a mirror of it and clients, all in this process.

It plays what a mirror is for, and compares what was promised with what was counted at the
upstream and at the clients. No network and no container engine is needed.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from roadstead import runtime
from roadstead.config.load import Loaded
from roadstead.config.schema import Settings
from roadstead.simulator.client import Pull, PullingClient
from roadstead.simulator.phrases import parse_fault
from roadstead.simulator.rehearsal import PLATFORMS, Script, play
from roadstead.simulator.stage import Stage

CLIENTS: Final = 20
PULL_LIMIT: Final = 6

_TAG_TTL_SECONDS = 2.0
_LAYER_BYTES = 3 * 1024 * 1024
_LAYERS = 3
# A line to the registry that can be felt: without it nobody could see what the mirror saves.
_LINE = ("latency:0.03", "slow:8MiB")
_MANIFESTS_OF_A_PULL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One act, with what was counted; ``broken`` says which promise was, empty for none."""

    name: str
    explanation: str
    requests: int
    upstream_requests: int
    upstream_bytes: int
    client_bytes: int
    seconds: float
    outcome: str
    broken: str


@dataclass(slots=True)
class Report:
    """All acts; ``pulls`` were counted against the limit, ``pulls_without`` would have been."""

    steps: list[Step] = field(default_factory=list)
    pulls: int = 0
    pulls_without: int = 0

    @property
    def is_kept(self) -> bool:
        """Whether all was as promised."""
        return bool(self.steps) and not any(step.broken for step in self.steps)


async def perform(announce: Callable[[str], None]) -> Report:
    """Play all acts; ``announce`` is told what happens now.

    Raises:
        OSError: an address of the loopback interface cannot be bound.
    """
    script = Script(
        manners="docker-hub",
        images=2,
        layers=_LAYERS,
        layer_bytes=_LAYER_BYTES,
        limit=PULL_LIMIT,
        faults=[parse_fault(text) for text in _LINE],
    )
    announce("starting a registry with Docker Hub's manners, and a mirror of it")
    with TemporaryDirectory(prefix="roadstead-demo-") as directory:
        async with play(script) as stage, _mirror(stage, Path(directory)) as url:
            return await _Acts(stage, url, script.repositories, announce).perform()


@contextlib.asynccontextmanager
async def _mirror(stage: Stage, directory: Path) -> AsyncIterator[str]:
    settings = Settings.model_validate(
        {
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(directory)}},
            "http": {"addr": "127.0.0.1:0", "draintimeout": "1s"},
            "proxy": {
                "remoteurl": stage.registry.url,
                "trustedrealms": sorted(stage.trusted_realms),
                "tagttl": f"{_TAG_TTL_SECONDS}s",
            },
        }
    )
    async with runtime.running(Loaded(settings, notices=[], source="demo")) as mirror:
        yield f"http://127.0.0.1:{mirror.port}"


class _Acts:
    """The acts in their order."""

    def __init__(
        self, stage: Stage, url: str, repositories: list[str], announce: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._url = url
        self._old, self._fresh = repositories
        self._announce = announce
        self._report = Report()

    async def perform(self) -> Report:
        await self._cold()
        await self._warm()
        await self._outage()
        await self._crowd()
        limit = self._stage.pull_limit
        self._report.pulls = 0 if limit is None else limit.used
        self._report.pulls_without = (3 + CLIENTS) * _MANIFESTS_OF_A_PULL
        return self._report

    async def _cold(self) -> None:
        self._announce("one client pulls an image that the mirror does not hold")
        await self._act(
            "cold pull",
            "The image came from upstream once, verified, and is held from now on.",
            image=self._old,
            upstream_bytes=self._image_bytes(self._old),
        )

    async def _warm(self) -> None:
        self._announce("the same image again")
        await self._act(
            "warm pull",
            "The mirror answered from its disk: nothing of the image came over the line.",
            image=self._old,
            upstream_bytes=0,
        )

    async def _outage(self) -> None:
        self._announce("the registry stops, and what the mirror knows of the tag grows old")
        await self._stage.stop()
        await asyncio.sleep(_TAG_TTL_SECONDS)
        await self._act(
            "upstream down",
            "Every port upstream refused connections; the mirror served what it holds, and said "
            "so in a Warning header.",
            image=self._old,
            upstream_bytes=0,
            is_stale=True,
        )
        await self._stage.start()

    async def _crowd(self) -> None:
        self._announce(f"{CLIENTS} clients pull another image at the same moment")
        await self._act(
            f"{CLIENTS} at once",
            "One fetch upstream fed all of them while it arrived.",
            image=self._fresh,
            clients=CLIENTS,
            upstream_bytes=self._image_bytes(self._fresh),
        )

    async def _act(
        self,
        name: str,
        explanation: str,
        *,
        image: str,
        upstream_bytes: int,
        clients: int = 1,
        is_stale: bool = False,
    ) -> None:
        """Let clients pull, and compare: ``upstream_bytes`` of blobs may come from upstream."""
        for host in self._stage.hosts:
            host.requests.clear()
        started = time.perf_counter()
        pulls = await self._pull(image, clients)
        seconds = time.perf_counter() - started
        whole = sum(not pull.failure for pull in pulls)
        failures = sorted({pull.failure for pull in pulls if pull.failure})
        blob_bytes = sum(record.body_bytes_sent for record in self._stage.bodies.requests)
        broken = "; ".join(failures)
        if not broken and blob_bytes != upstream_bytes:
            broken = f"{blob_bytes} bytes of blobs came from upstream, not {upstream_bytes}"
        if not broken and is_stale and not all(pull.warnings for pull in pulls):
            broken = "the stale answer did not say that it is stale"
        source = "stale, whole" if is_stale else "whole"
        self._report.steps.append(
            Step(
                name=name,
                explanation=explanation,
                requests=sum(pull.requests for pull in pulls),
                upstream_requests=len(self._stage.requests),
                upstream_bytes=sum(record.body_bytes_sent for record in self._stage.requests),
                client_bytes=sum(pull.body_bytes for pull in pulls),
                seconds=seconds,
                outcome=source if clients == 1 else f"{whole} whole",
                broken=broken,
            )
        )

    async def _pull(self, image: str, clients: int) -> list[Pull]:
        async with contextlib.AsyncExitStack() as stack:
            pullers = [
                await stack.enter_async_context(PullingClient(self._url)) for _ in range(clients)
            ]
            return await asyncio.gather(
                *(puller.pull(image, "latest", platform=PLATFORMS[0]) for puller in pullers)
            )

    def _image_bytes(self, repository: str) -> int:
        """Add up the blobs that a client of one platform needs."""
        blobs = self._stage.registry.repositories[repository].blobs
        sizes = sorted(content.size_bytes for content in blobs.values())
        # The config of the other platform is not pulled, and as large as that of ours.
        return sum(sizes[1:])
