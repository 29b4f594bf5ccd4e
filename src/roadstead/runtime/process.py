"""One running mirror: start everything, serve, stop gracefully."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roadstead import __version__
from roadstead.config.load import Loaded
from roadstead.config.schema import Settings
from roadstead.errors import StorageError
from roadstead.metadata.service import MetadataService
from roadstead.metadata.totals import HourlyTotals
from roadstead.mirror.deletions import Deletions
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.digest import Digest
from roadstead.runtime.access import make_gate
from roadstead.runtime.certificates import make_tls, watching
from roadstead.runtime.classes import repository_classes
from roadstead.runtime.crew import Crew
from roadstead.runtime.listeners import Listeners
from roadstead.runtime.metadata import RecordedLinks
from roadstead.runtime.notifying import notifying
from roadstead.runtime.observability import RequestLogs, make_checks, start_logging
from roadstead.runtime.readiness import Readiness
from roadstead.runtime.removals import following_removals
from roadstead.runtime.retention import KeptSpace, keep_space, keeping_space
from roadstead.runtime.status import StatusBoard
from roadstead.runtime.systemd import InheritedSockets
from roadstead.runtime.upstreams import SharedStore, open_mirrors
from roadstead.runtime.verification import verifying
from roadstead.server.access.gate import Gate
from roadstead.server.app import RegistryApp
from roadstead.server.registry import RegistryHandlers
from roadstead.server.tls import ServerTls
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.survey import Survey
from roadstead.telemetry.events import Event, Observer, StorageFailed, on_loop
from roadstead.telemetry.health import monitoring
from roadstead.telemetry.metrics import Metrics
from roadstead.telemetry.storagewatch import StorageWatch
from roadstead.telemetry.tracing import UNTRACED, Tracer

if TYPE_CHECKING:
    # Only those who use them pay for the import.
    from roadstead.runtime.workers.desk import Desk
    from roadstead.runtime.workers.office import Office

_log = logging.getLogger("roadstead.runtime")

# distribution's default of storage.maintenance.uploadpurging.age
_PARTIAL_AGE_SECONDS: Final = 168 * 3600
# The first answers come before the metadata database.
_METADATA_DELAY_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Running:
    """A started mirror; ``port`` and ``debug_port`` are None where there is no TCP listener.

    ``upstream_ports`` are those of single upstreams' own listeners, by upstream.
    ``stop_verifying`` ends the verification in the background.
    """

    mirrors: Mirrors
    metrics: Metrics
    port: int | None
    debug_port: int | None
    upstream_ports: dict[str, int]
    readiness: Readiness
    listeners: Listeners
    stop_verifying: Callable[[], Awaitable[None]]
    tls: ServerTls | None = None

    async def stand_down(self, seconds: float, *, hurry: asyncio.Event) -> None:
        """Go on serving for so long, but say to whoever asks that this mirror is about to stop.

        Load balancers see ``/readyz`` fail and send new clients elsewhere; clients with an open
        connection are told to close it. ``hurry`` (a second signal) ends the wait.
        """
        self.readiness.draining = True
        if seconds > 0:
            _log.info("standing down; serving for %g s more", seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), seconds)


@dataclass(frozen=True, slots=True)
class Part:
    """What a process does of a mirror: all of it, or one of several does (see workers).

    A worker has a ``desk``, and serves; the keeper has the ``office``, and does the rest.
    """

    desk: "Desk | None" = None
    office: "Office | None" = None
    instance_id: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether other processes fetch into the same store."""
        return self.desk is not None or self.office is not None

    def shared(self, space: KeptSpace | None) -> SharedStore:
        """Say what the mirrors share with other processes, and who keeps the store."""
        keeper = self.desk if space is None else space.keeper
        assert keeper is not None  # noqa: S101 - whoever keeps no space has a desk
        return SharedStore(keeper, self.desk, is_shared=self.is_shared)


WHOLE: Final = Part()


@contextlib.asynccontextmanager
async def running(
    loaded: Loaded,
    *,
    inherited: InheritedSockets | None = None,
    tracer: Tracer = UNTRACED,
    part: Part = WHOLE,
) -> AsyncIterator[Running]:
    """Start a mirror, and stop it at the end of the context: gracefully, everything closed.

    Listeners use the ``inherited`` sockets that fit their addresses, and bind the others.
    ``tracer`` is closed by whoever made it; ``part`` is what this process does of the mirror.

    Raises:
        OSError: an address cannot be bound, or a TLS file cannot be used.
    """
    settings = loaded.settings
    instance_id = part.instance_id or str(uuid.uuid4())
    desk, office = part.desk, part.office
    report = start_logging(loaded, instance_id)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(report.flush)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(settings.storage.filesystem.maxthreads))
        metrics = Metrics(
            version=__version__,
            storage_driver="filesystem",
            classify=repository_classes(settings),
        )
        watch = StorageWatch(observe=metrics)
        hourly = HourlyTotals()
        observe = on_loop(_all(metrics, watch, hourly))
        report.also(tracer.repeats)
        report.also(stack.enter_context(notifying(settings, instance_id, observe)))
        store, metadata = _open_store(settings, part, hourly, observe)
        stack.push_async_callback(metadata.aclose)
        space = await _keep(settings, part, store, metadata, observe)
        board = StatusBoard(metrics, metadata, space, crew=Crew(office) if office else None)
        mirrors = await stack.enter_async_context(
            open_mirrors(settings, store, observe, board, metadata, tracer, part=part.shared(space))
        )
        await stack.enter_async_context(following_removals(store, mirrors))
        if space is not None:
            await stack.enter_async_context(keeping_space(space, mirrors))
        checks = make_checks(
            settings.health,
            store,
            watch,
            retention=space.check if space else None,
            metadata=metadata.check,
        )
        health = await stack.enter_async_context(monitoring(checks))
        inherited = inherited or InheritedSockets([])
        tls = make_tls(settings.http.tls)
        acme = settings.http.tls.letsencrypt if desk is None else None
        await stack.enter_async_context(watching(tls, acme))
        listeners = Listeners(settings, stack, inherited=inherited, tls=tls, observe=observe)
        readiness = Readiness(health, board)
        gate = make_gate(settings, mirrors)
        stack.push_async_callback(gate.aclose)
        debug_port = None
        if desk is None:
            debug_port = await listeners.open_debug(settings, mirrors, board, readiness, gate)
        else:
            desk.attend(store, mirrors, board, readiness, metadata)
        deletions = Deletions(store, forget=mirrors.forget) if settings.storage.can_delete else None
        apps = _Apps(
            settings,
            mirrors,
            readiness,
            observe,
            report,
            gate=gate,
            deletions=deletions,
            tracer=tracer,
        )
        ports = await _open_listeners(settings, listeners, apps, part)
        inherited.report_unclaimed()
        metadata.start(delay_seconds=_METADATA_DELAY_SECONDS)
        stop_verifying: Callable[[], Awaitable[None]] = _nothing
        if desk is None:
            stop_verifying = await stack.enter_async_context(
                verifying(settings, store, mirrors, observe)
            )
            _log.info("Registry configured as a proxy cache to %s", settings.proxy.remoteurl)
        yield Running(
            mirrors=mirrors,
            metrics=metrics,
            port=ports[0],
            debug_port=debug_port,
            upstream_ports=ports[1],
            readiness=readiness,
            tls=tls,
            listeners=listeners,
            stop_verifying=stop_verifying,
        )


def _open_store(
    settings: Settings, part: Part, hourly: HourlyTotals, observe: Observer
) -> tuple[FilesystemStore, MetadataService]:
    """Make the store and its database, each of which hears of the other's links."""
    root = Path(settings.storage.filesystem.rootdirectory)
    metadata = MetadataService(Layout(root).metadata, Survey(root), totals=hourly, observe=observe)
    links = RecordedLinks(metadata)
    store = FilesystemStore(root, observer=observe, notes=links, shared=part.is_shared)
    store.on_removal(links.removed)
    return store, metadata


async def _keep(
    settings: Settings,
    part: Part,
    store: FilesystemStore,
    metadata: MetadataService,
    observe: Observer,
) -> KeptSpace | None:
    """Make what keeps the store within its limits; None in a worker, which asks for room."""
    if part.desk is not None:
        return None
    if part.office is not None:
        store.on_removal(part.office.removed)
    await _tidy(store)
    return keep_space(
        settings,
        root=Path(settings.storage.filesystem.rootdirectory),
        store=store,
        metadata=lambda: metadata.database,
        observe=observe,
        workers=part.office,
    )


async def _open_listeners(
    settings: Settings, listeners: Listeners, apps: "_Apps", part: Part
) -> tuple[int | None, dict[str, int]]:
    """Open the main listener and those of single upstreams, but in a keeper; return their ports."""
    if part.office is not None:
        return None, {}
    upstream_ports = {
        name: await listeners.open(upstream.address, apps.make(name)) or 0
        for name, upstream in settings.upstreams.items()
        if upstream.address is not None
    }
    return await listeners.open(settings.http.address, apps.make(None)), upstream_ports


async def _nothing() -> None:
    """Stop what does not run."""


def _all(metrics: Metrics, watch: StorageWatch, hourly: HourlyTotals) -> Observer:
    def observe(event: Event) -> None:
        metrics(event)
        hourly(event)
        # Most events come with every request, and are none of its business.
        if isinstance(event, StorageFailed):
            watch(event)

    return observe


class _Apps:
    """Makes the request handler of each listener."""

    def __init__(
        self,
        settings: Settings,
        mirrors: Mirrors,
        readiness: Readiness,
        observe: Observer,
        report: RequestLogs,
        *,
        gate: Gate,
        deletions: Deletions | None,
        tracer: Tracer,
    ) -> None:
        self._settings = settings
        self._mirrors = mirrors
        self._readiness = readiness
        self._observe = observe
        self._report = report
        self._tracer = tracer
        self._handlers = RegistryHandlers(
            mirrors,
            catalog_max_entries=settings.catalog.maxentries,
            tags_max_entries=settings.tags.maxtags,
            observe=observe,
            gate=gate,
            deletions=deletions,
            accel=_accel(settings),
        )

    def make(self, listener: str | None) -> RegistryApp:
        """Make the handler of the main listener (None) or of one upstream's own."""
        http = self._settings.http
        return RegistryApp(
            self._handlers,
            is_upstream=self._mirrors.knows,
            listener=listener,
            extra_headers=http.headers,
            prefix=http.prefix,
            standing=self._readiness,
            observe=self._observe,
            report=self._report,
            tracer=self._tracer,
        )


def _accel(settings: Settings) -> Callable[[Digest], str] | None:
    """Return what makes an address of nginx's of a held blob, if an nginx is to send them."""
    location = settings.http.accelredirect
    layout = Layout(Path("/"))
    if not location:
        return None
    return lambda digest: f"{location}{layout.blob(digest).relative_to(layout.blobs)}"


async def _tidy(store: FilesystemStore) -> None:
    """Remove partial downloads that are of no use; a store in trouble does not stop the start."""
    try:
        await store.remove_stale_partials()
        await store.purge_partials(older_than_seconds=_PARTIAL_AGE_SECONDS, now=time.time())
    except StorageError as error:
        _log.error("the store is in trouble", extra={"fields": {"error": str(error)}})
