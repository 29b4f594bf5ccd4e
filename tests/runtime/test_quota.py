"""Docker Hub's limit on pulls, spent by the whole program: a limit of 5, 20 tags, 200 pulls."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession

from roadstead.simulator.client import Pull, PullingClient
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.habits import PullLimit
from roadstead.simulator.manners import MANNERS, open_stage
from roadstead.simulator.stage import Stage
from tests.conftest import Figures
from tests.runtime.started import started, url_of
from tests.support.rig import APP

TAGS = [f"v{number}" for number in range(20)]
ROUNDS = 10
LIMIT = 5


@dataclass
class Scene:
    """The Hub, a mirror that asks for each tag each time, and a client."""

    stage: Stage
    puller: PullingClient
    url: str

    @property
    def limit(self) -> PullLimit:
        """The limit that is in force."""
        assert self.stage.pull_limit is not None
        return self.stage.pull_limit

    async def pull_all(self) -> list[Pull]:
        """Pull each tag once."""
        return [await self.puller.pull(APP, tag) for tag in TAGS]

    def manifest_requests(self) -> Counter[str]:
        """Count what the Hub was asked for manifests, by verb."""
        requests = self.stage.registry.requests
        return Counter(one.method for one in requests if one.kind is RequestKind.MANIFEST)


@asynccontextmanager
async def scene(root: Path, limit: int) -> AsyncIterator[Scene]:
    """Set the three up."""
    async with open_stage(MANNERS["docker-hub"], limit=limit) as stage:
        keys = {
            "REGISTRY_PROXY_TAGTTL": "0s",
            "REGISTRY_PROXY_TRUSTEDREALMS": f"[{', '.join(stage.trusted_realms)}]",
        }
        async with (
            started(stage.registry, root, **keys) as mirror,
            PullingClient(url_of(mirror)) as puller,
        ):
            yield Scene(stage, puller, url_of(mirror))


async def test_two_hundred_warm_pulls_spend_none_of_a_limit_of_five(
    tmp_path: Path, figures: Figures
) -> None:
    """Filling costs a pull for each index and each manifest; after that HEAD is enough."""
    async with scene(tmp_path, limit=100) as at:
        for tag in TAGS:
            platforms = ["linux/amd64", f"linux/{tag}"]
            at.stage.registry.add_index(APP, platforms=platforms, tag=tag)
        filled = await at.pull_all()
        spent_on_filling = at.limit.used
        at.limit.forget()
        at.limit.limit = LIMIT
        at.stage.registry.requests.clear()

        warm = [pull for _ in range(ROUNDS) for pull in await at.pull_all()]

        assert {pull.failure for pull in (*filled, *warm)} == {""}
        assert {pull.digest for pull in warm} == {pull.digest for pull in filled}
        assert all(not pull.warnings for pull in warm)
        # All indexes have the image for amd64 in common.
        assert spent_on_filling == len(TAGS) + 1
        assert at.limit.used == 0
        assert at.manifest_requests() == {"HEAD": len(warm)}
    figures.add(f"filling {len(TAGS)} tags: {spent_on_filling} pulls; {len(warm)} warm pulls: none")


async def test_a_limit_that_runs_out_while_filling_costs_nobody_what_is_held(
    tmp_path: Path, figures: Figures
) -> None:
    """Five images are served on and on; the others get an honest 429."""
    async with scene(tmp_path, limit=LIMIT) as at:
        for tag in TAGS:
            at.stage.registry.add_image(APP, tag=tag, layers=[tag.encode()])
        first = await at.pull_all()
        later = [await at.pull_all() for _ in range(ROUNDS)]
        async with (
            ClientSession(at.url) as client,
            client.get(f"/v2/{APP}/manifests/{TAGS[-1]}") as answer,
        ):
            document = await answer.json()

        held = [not pull.failure for pull in first]
        assert held == [number < LIMIT for number in range(len(TAGS))]
        for round_of_pulls in later:
            assert [not pull.failure for pull in round_of_pulls] == held
        assert all("429" in pull.failure for pull in first[LIMIT:])
        assert at.limit.used == LIMIT
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert document["errors"][0]["code"] == "TOOMANYREQUESTS"
        refused = at.manifest_requests()["GET"] - LIMIT
    figures.add(
        f"a limit of {LIMIT} while filling {len(TAGS)} tags: {LIMIT} held and served, "
        f"{len(TAGS) - LIMIT} refused; {(ROUNDS + 1) * len(TAGS)} pulls "
        f"asked {refused} times in vain"
    )
