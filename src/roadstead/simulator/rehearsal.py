"""A whole upstream for an operator: manners, images on the shelf, and faults in place."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from roadstead.simulator.content import GeneratedContent, tarred
from roadstead.simulator.manners import MANNERS, open_stage
from roadstead.simulator.phrases import PlannedFault
from roadstead.simulator.stage import Account, Stage

PLATFORMS = ("linux/amd64", "linux/arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is to be played.

    ``manners`` is a key of MANNERS; ``layer_bytes`` the size of each of the ``layers`` of each
    image; ``times`` how often each fault acts (None: always); ``limit`` and ``account`` as in
    ``open_stage``.
    """

    manners: str = "plain"
    address: str = "127.0.0.1"
    port: int = 0
    images: int = 3
    layers: int = 3
    layer_bytes: int = 10 * 1024 * 1024
    limit: int | None = None
    account: Account | None = None
    faults: list[PlannedFault] = field(default_factory=list)
    times: int | None = None

    @property
    def repositories(self) -> list[str]:
        """Names of the images; each has the tag ``latest``."""
        return [f"library/app{number}" for number in range(1, self.images + 1)]


@contextlib.asynccontextmanager
async def play(script: Script) -> AsyncIterator[Stage]:
    """Start everything, and stop it at the end of the context.

    Raises:
        OSError: an address cannot be bound.
    """
    async with open_stage(
        MANNERS[script.manners],
        address=script.address,
        port=script.port,
        account=script.account,
        limit=script.limit,
    ) as stage:
        for number, repository in enumerate(script.repositories):
            add_image(
                stage,
                repository,
                layers=script.layers,
                layer_bytes=script.layer_bytes,
                seed=1_000 * number,
            )
        for fault in script.faults:
            fault.apply(stage, times=script.times)
        yield stage


def add_image(stage: Stage, repository: str, *, layers: int, layer_bytes: int, seed: int) -> None:
    """Push ``latest`` for two platforms with the same layers, which clients can unpack."""
    contents = [
        tarred(f"srv/layer-{number}", GeneratedContent(layer_bytes, seed + number))
        for number in range(layers)
    ]
    images = [
        stage.registry.add_image(repository, layers=contents, platform=platform)
        for platform in PLATFORMS
    ]
    stage.registry.add_index(repository, images=images, tag="latest")
