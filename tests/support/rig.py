"""A whole mirror in this process: scripted upstream, store in a folder, server on loopback."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from roadstead.errors import StorageError, UpstreamUnreachableError
from roadstead.mirror.blobs import Blobs
from roadstead.mirror.content import BlobReader
from roadstead.mirror.flight import Flights
from roadstead.mirror.freshness import FreshnessRules
from roadstead.mirror.inuse import BlobsInUse
from roadstead.mirror.listings import Listings
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.mirror import Mirror, Pulled
from roadstead.mirror.mirrors import Mirrors
from roadstead.mirror.pace import PaceRules
from roadstead.mirror.platforms import PlatformRules, SeenPlatforms
from roadstead.mirror.prefetch import Prefetcher
from roadstead.mirror.pump import RetryPolicy
from roadstead.mirror.routing import Router, RouteRules
from roadstead.mirror.soundness import Soundness
from roadstead.mirror.space import SpaceKeeper, Unlimited
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.server.access.gate import Gate
from roadstead.server.app import RegistryApp
from roadstead.server.limits import Guard, LimitRules
from roadstead.server.listener import Listener
from roadstead.server.registry import RegistryHandlers
from roadstead.simulator.content import SimulatedImage
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.answered import Exchange, Whole
from roadstead.telemetry.events import Event, Repeated, Served, on_loop
from roadstead.upstream.base import Upstream
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.credentials import CredentialSource
from roadstead.upstream.retry import Retries
from roadstead.upstream.timeouts import Timeouts
from tests.support.clock import Clock
from tests.support.failing_store import Disk, FailingStore

APP = RepositoryName("library/app")
OTHER = RepositoryName("library/other")


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@dataclass
class Rig:
    """The parts, to be looked at and steered by tests."""

    upstream: ScriptedRegistry
    store: FilesystemStore
    root: Path
    flights: Flights
    mirror: Mirror
    mirrors: Mirrors
    clock: Clock
    events: list[Event]
    exchanges: list[Exchange] = field(default_factory=list)
    prefetcher: Prefetcher | None = None
    healthy: bool = True
    draining: bool = False
    url: str = ""
    port: int = 0

    def is_healthy(self) -> bool:
        """Say what the health checks would say."""
        return self.healthy

    def served(self) -> list[str]:
        """Return the outcomes of all that was served so far."""
        return [
            str(event.outcome) if isinstance(event, Served) else "hit"
            for event in self.events
            if isinstance(event, (Served, Repeated))
        ]

    def files(self, pattern: str = "**/*") -> list[str]:
        """List the files of the store."""
        return sorted(
            str(path.relative_to(self.root)) for path in self.root.glob(pattern) if path.is_file()
        )

    async def hold(self, image: SimulatedImage, *, tag: str = "latest") -> None:
        """Pull an image of APP by its tag, whole."""
        await self.mirror.manifest(APP, Tag(tag))
        for blob in image.blobs:
            await read_all(await self.mirror.blob(APP, blob.digest))
        await self.landed()

    async def landed(self) -> None:
        """Wait until no flight is under way."""
        await self.flights.landed()


PATIENT = Timeouts(connect=30, first_byte=30, stall=30, total=60)
"""Of an upstream that is waited for, however busy the machine is."""


@contextlib.asynccontextmanager
async def make_rig(  # noqa: PLR0913 - each is one thing that a test may want to differ
    root: Path,
    *,
    upstream: ScriptedRegistry | None = None,
    rules: FreshnessRules | None = None,
    clock: Clock | None = None,
    timeouts: Timeouts | None = None,
    credentials: CredentialSource | None = None,
    trusted_realms: frozenset[str] = frozenset(),
    client: Upstream | None = None,
    platforms: PlatformRules | None = None,
    disk: Disk | None = None,
    space: SpaceKeeper | None = None,
    pace: PaceRules | None = None,
    store: FilesystemStore | None = None,
    shared: bool = False,
    pulled: Pulled = lambda _repository, _digest: None,
    seen: SeenPlatforms | None = None,
    may_spend: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Rig]:
    """Build a mirror of a scripted upstream (a new one, unless given) over ``root``.

    A ``client`` that is open already takes the place of the one that would ask that upstream.
    A ``disk`` refuses what it is told to. A ``store`` takes the place of a plain one. A
    ``shared`` one is that of several mirrors, as worker processes have it. With platforms that
    were ``seen`` blobs are fetched ahead, and manifests for that where it ``may_spend``.
    """
    async with contextlib.AsyncExitStack() as stack:
        if upstream is None:
            upstream = await stack.enter_async_context(ScriptedRegistry())
        clock = clock or Clock()
        rules = rules or FreshnessRules()
        events: list[Event] = []
        observe = on_loop(events.append)
        if store is None:
            store = FilesystemStore(root, observer=observe, shared=shared)
        if disk is not None:
            store = FailingStore(root, disk, observer=observe)
        if client is None:
            client = await stack.enter_async_context(
                RegistryUpstream(
                    upstream.url,
                    timeouts=timeouts or Timeouts(connect=2, first_byte=2, stall=2, total=5),
                    retries=Retries(sleep=_at_once),
                    credentials=credentials,
                    trusted_realms=trusted_realms,
                )
            )
        retry = RetryPolicy(attempts=3, first_delay_seconds=0.0, room_delays_seconds=(0.0, 0.0))
        flights = Flights(store, observe=observe, retry=retry, space=space, shared=shared)
        soundness = Soundness(store, observe=observe)
        manifests = Manifests(
            store=store,
            upstream=client,
            rules=rules,
            soundness=soundness,
            observe=observe,
            platforms=platforms,
            space=space,
            clock=clock,
        )
        in_use = BlobsInUse()
        blobs = Blobs(
            store=store,
            upstream=client,
            flights=flights,
            max_transfers=8,
            soundness=soundness,
            observe=observe,
            in_use=in_use,
            pace=pace,
        )
        listings = Listings(
            store=store,
            upstream=client,
            manifests=manifests,
            ttl_seconds=rules.tag_ttl,
            patience_seconds=rules.revalidation_limit,
            observe=observe,
            clock=clock,
        )
        prefetcher = None
        if seen is not None:
            prefetcher = Prefetcher(
                manifests=manifests,
                blobs=blobs,
                space=space or Unlimited(),
                seen=seen,
                rules=platforms or PlatformRules(),
                may_spend=may_spend,
                observe=observe,
                clock=clock,
            )
        mirror = Mirror(
            manifests=manifests,
            blobs=blobs,
            listings=listings,
            pulled=pulled,
            prefetcher=prefetcher,
        )
        names = frozenset({"docker.io", "registry.example"})
        router = Router([RouteRules("docker.io", names)], default="docker.io")
        mirrors = Mirrors(
            router=router,
            mirrors={"docker.io": mirror},
            flights=flights,
            store=store,
            in_use=in_use,
        )
        stack.push_async_callback(mirrors.aclose)
        rig = Rig(upstream, store, root, flights, mirror, mirrors, clock, events)
        rig.prefetcher = prefetcher
        yield rig


@contextlib.asynccontextmanager
async def serving(
    rig: Rig,
    *,
    prefix: str = "/",
    drain_seconds: float = 1.0,
    keepalive_seconds: float = 75.0,
    gate: Gate | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Rig]:
    """Serve a rig's mirror on a loopback port; without a gate everybody may pull.

    With a ``context`` it is by TLS.
    """
    app = RegistryApp(
        RegistryHandlers(
            rig.mirrors,
            catalog_max_entries=1000,
            tags_max_entries=1000,
            observe=rig.events.append,
            gate=gate,
        ),
        is_upstream=rig.mirrors.knows,
        listener=None,
        extra_headers={"X-Content-Type-Options": ["nosniff"]},
        prefix=prefix,
        standing=rig,
        observe=rig.events.append,
        report=Whole(rig.exchanges.append),
    )
    listener = Listener(
        app,
        drain_seconds=drain_seconds,
        repeats=app.repeats,
        guard=Guard(LimitRules(idle_seconds=keepalive_seconds)),
    )
    rig.port = await listener.listen_tcp("127.0.0.1", 0, context=context)
    rig.url = f"http://127.0.0.1:{rig.port}"
    try:
        yield rig
    finally:
        await listener.aclose()


class _Nothing:
    """Chunks that do not come."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message = "passes nothing on"
        raise UpstreamUnreachableError(message, upstream="test")


def nowhere(_offset: int, _file: BinaryIO) -> contextlib.AbstractAsyncContextManager[_Nothing]:
    """Stand for an upstream that passes nothing on."""
    return contextlib.nullcontext(_Nothing())


async def read_all(reader: BlobReader) -> bytes:
    """Read a blob to its end, as the server does, and close it.

    What the store cannot take is passed on from where its file ends.
    """
    content = b""
    try:
        while (available := await reader.wait_beyond(len(content))) > len(content):
            reader.file.seek(len(content))
            content += reader.file.read(available - len(content))
    except StorageError:
        async with reader.pass_on(len(content)) as chunks:
            async for chunk in chunks:
                content += chunk
    finally:
        reader.close()
    return content
