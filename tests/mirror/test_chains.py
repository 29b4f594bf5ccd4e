"""Mirrors in a row: a Roadstead whose upstream is another one, and one that is like Harbor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.mirror.freshness import FreshnessRules
from roadstead.simulator import faults
from roadstead.simulator.client import Pull, PullingClient
from roadstead.simulator.content import GeneratedContent, tarred
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.timeouts import Timeouts
from tests.support.rig import APP, Rig, make_rig, serving

LAYER_BYTES = 3_000_000
# Nobody here is silent, so nobody gives up on one that is slow because the machine is busy.
_TIMEOUTS = Timeouts(connect=50, first_byte=50, stall=50, total=50)
_RULES = FreshnessRules(revalidation_limit=50)


@dataclass
class Chain:
    """A registry, the mirror of it, and a mirror of that."""

    registry: ScriptedRegistry
    far: Rig
    near: Rig
    puller: PullingClient

    async def pull(self, reference: str = "latest") -> Pull:
        """Pull all platforms through both mirrors."""
        return await self.puller.pull(APP, reference, platform=None)

    def advance(self, seconds: float) -> None:
        """Let time pass for both."""
        self.far.clock.advance(seconds)
        self.near.clock.advance(seconds)


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """Start both mirrors."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(ScriptedRegistry())
        made = make_rig(tmp_path / "far", upstream=registry, rules=_RULES, timeouts=_TIMEOUTS)
        far = await stack.enter_async_context(made)
        await stack.enter_async_context(serving(far))
        opened = RegistryUpstream(far.url, timeouts=_TIMEOUTS)
        client = await stack.enter_async_context(opened)
        made = make_rig(tmp_path / "near", upstream=registry, client=client, rules=_RULES)
        near = await stack.enter_async_context(made)
        await stack.enter_async_context(serving(near))
        puller = await stack.enter_async_context(PullingClient(near.url))
        yield Chain(registry, far, near, puller)


def fill(registry: ScriptedRegistry) -> None:
    """Put an image for two platforms, with layers of several pieces, on the shelf."""
    images = [
        registry.add_image(
            APP,
            platform=f"linux/{architecture}",
            layers=[tarred("file", GeneratedContent(LAYER_BYTES, seed))],
        )
        for seed, architecture in enumerate(("amd64", "arm64"))
    ]
    registry.add_index(APP, images=images, tag="latest")


async def test_many_clients_of_a_chain_cost_the_registry_one_pull(chain: Chain) -> None:
    """Eight requests: the tag twice, two manifests, four blobs."""
    fill(chain.registry)

    pulls = await asyncio.gather(*(chain.pull() for _ in range(10)))

    assert [pull.failure for pull in pulls] == [""] * 10
    assert len(chain.registry.requests) == 8


async def test_a_cut_at_the_registry_is_mended_where_it_happens(chain: Chain) -> None:
    """The mirror next to the client sees nothing of it, and neither does the client."""
    fill(chain.registry)
    chain.registry.inject(faults.Cut(after=1_000_000), kind=RequestKind.BLOB)

    pull = await chain.pull()

    assert pull.failure == ""
    assert any("range" in record.headers for record in chain.registry.requests)
    ranged = [one for one in chain.far.exchanges if one.status == 206]
    assert ranged == []


async def test_a_moved_tag_arrives_through_the_chain(chain: Chain) -> None:
    """Each mirror asks the next one when its own window is over."""
    fill(chain.registry)
    before = await chain.pull()
    chain.registry.add_index(APP, platforms=["linux/amd64"], tag="latest")
    chain.advance(61)

    after = await chain.pull()

    assert (before.failure, after.failure) == ("", "")
    assert before.digest != after.digest


async def test_a_chain_outlives_its_registry_and_then_its_middle(chain: Chain) -> None:
    """First the far mirror serves what it cannot confirm, then the near one does so."""
    fill(chain.registry)
    first = await chain.pull()
    await chain.registry.stop()
    chain.advance(61)
    without_registry = await chain.pull()
    chain.far.healthy = False
    chain.advance(61)
    without_middle = await chain.pull()

    assert first.failure == without_registry.failure == without_middle.failure == ""
    assert first.digest == without_registry.digest == without_middle.digest
    assert without_middle.warnings != []


async def test_the_registrys_reason_reaches_the_client(chain: Chain) -> None:
    """A 429 stays a 429 over two mirrors, with a wait that clients can bear."""
    limit = faults.Status(429, "TOOMANYREQUESTS", "enough", {"Retry-After": "3600"})
    chain.registry.add_image(APP, tag="latest")
    chain.registry.inject(limit, kind=RequestKind.MANIFEST, method="GET")

    async with (
        ClientSession(chain.near.url) as client,
        client.get(f"/v2/{APP}/manifests/latest") as answer,
    ):
        document = await answer.json()

    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert document["errors"][0]["code"] == "TOOMANYREQUESTS"


async def test_what_is_unknown_stays_unknown(chain: Chain) -> None:
    """404 over two mirrors, for manifests and blobs."""
    image = chain.registry.add_image(APP, tag="latest")
    absent = str(image.manifest_digest)

    async with ClientSession(chain.near.url) as client:
        for path in ("manifests/absent", f"blobs/{absent}"):
            async with client.get(f"/v2/{APP}/{path}") as answer:
                assert answer.status == 404


async def test_lists_lead_through_the_chain_page_by_page(chain: Chain) -> None:
    """Tags and referrers, with links that stay at the near mirror."""
    image = chain.registry.add_image(APP, tag="a")
    for tag in ("b", "c"):
        chain.registry.add_image(APP, tag=tag, subject=image.descriptor)
    found: list[str] = []
    async with ClientSession(chain.near.url) as client:
        path: str | None = f"/v2/{APP}/tags/list?n=2"
        while path:
            async with client.get(path) as answer:
                found += (await answer.json())["tags"]
                link = answer.headers.get("Link")
                path = link.partition(">")[0].removeprefix("<") if link else None
        async with client.get(f"/v2/{APP}/referrers/{image.manifest_digest}") as answer:
            referrers = (await answer.json())["manifests"]

    assert found == ["a", "b", "c"]
    assert len(referrers) == 1
