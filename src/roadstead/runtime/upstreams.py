"""Builds the mirrors: for every planned upstream its client, its rules and its caches."""

import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from roadstead.config.schema import Settings
from roadstead.config.schema_proxy import UpstreamSettings
from roadstead.metadata.service import MetadataService
from roadstead.mirror.blobs import Blobs
from roadstead.mirror.flight import Flights
from roadstead.mirror.freshness import FreshnessRules
from roadstead.mirror.inuse import BlobsInUse
from roadstead.mirror.listings import Listings
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.mirror import Mirror
from roadstead.mirror.mirrors import Mirrors
from roadstead.mirror.others import OtherProcesses
from roadstead.mirror.pace import PaceRules
from roadstead.mirror.platforms import PlatformRules, SeenPlatforms
from roadstead.mirror.prefetch import Prefetcher
from roadstead.mirror.routing import Router, any_of
from roadstead.mirror.soundness import Soundness
from roadstead.mirror.space import SpaceKeeper
from roadstead.oci.digest import Digest
from roadstead.oci.platform import Platform
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.metadata import HeldNames
from roadstead.runtime.plan import PlannedUpstream, default_name, plan_upstreams
from roadstead.runtime.status import StatusBoard
from roadstead.secrecy import Secret
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.platformlist import PlatformList
from roadstead.telemetry.events import Observer
from roadstead.telemetry.tracing import UNTRACED, Tracer
from roadstead.upstream.base import Upstream
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.credentials import (
    Credentials,
    CredentialSource,
    ExecCredentials,
    StaticCredentials,
)
from roadstead.upstream.dockerconfig import DockerConfigCredentials
from roadstead.upstream.endpoints import Member
from roadstead.upstream.failover import FailoverUpstream
from roadstead.upstream.naming import WELL_KNOWN_REALMS
from roadstead.upstream.offline import OfflineUpstream
from roadstead.upstream.outbound import Tracing
from roadstead.upstream.retry import Retries
from roadstead.upstream.timeouts import Timeouts
from roadstead.upstream.tlscontext import make_client_tls


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long an endpoint is waited for, and how often a small call to it is tried."""

    attempts: int
    first_byte_seconds: float


# Where another endpoint follows it is quicker to ask that one than to insist.
_HASTY = _Patience(attempts=1, first_byte_seconds=5.0)
_PATIENT = _Patience(attempts=2, first_byte_seconds=math.inf)


@dataclass(frozen=True, slots=True)
class SharedStore:
    """Who else is at work in the store: ``keeper`` decides about room.

    ``others`` serve beside this process; ``is_shared`` says whether any other fetches.
    """

    keeper: SpaceKeeper
    others: OtherProcesses | None = None
    is_shared: bool = False


@asynccontextmanager
async def open_mirrors(
    settings: Settings,
    store: FilesystemStore,
    observe: Observer,
    board: StatusBoard,
    metadata: MetadataService,
    tracer: Tracer = UNTRACED,
    *,
    part: SharedStore,
) -> AsyncIterator[Mirrors]:
    """Build a mirror for every upstream, and close them all at the end.

    Upstreams that can be asked are put on ``board``. ``metadata`` gives names of what is held,
    and takes note of pulls. ``part`` says who else is at work in the store.

    Raises:
        OSError: a certificate cannot be used.
    """
    planned = plan_upstreams(settings)
    flights = Flights(
        store, observe=observe, space=part.keeper, tracer=tracer, shared=part.is_shared
    )
    in_use = BlobsInUse()
    layout = Layout(Path(settings.storage.filesystem.rootdirectory))
    platforms = PlatformList(layout.platforms)
    parts = _Parts(
        store=store,
        flights=flights,
        in_use=in_use,
        names=HeldNames(store, metadata),
        metadata=metadata,
        space=part.keeper,
        seen=SeenPlatforms(platforms.read(), keep=platforms.add),
        observe=observe,
        others=part.others,
        # Each serves its part of the clients, so each may have its part of the transfers.
        workers=settings.http.workers if part.others is not None else 1,
    )
    async with AsyncExitStack() as stack:
        mirrors = {}
        for one in planned:
            is_offline = settings.mirror.offline
            upstream = await _open(one, stack, observe, tracer, is_offline=is_offline)
            if isinstance(upstream, FailoverUpstream):
                board.upstreams[one.name] = upstream
            mirrors[one.name] = _mirror(one.settings, upstream, parts)
        router = Router([one.rules for one in planned], default=default_name(settings))
        composed = Mirrors(
            router=router,
            mirrors=mirrors,
            flights=flights,
            store=store,
            in_use=in_use,
            catalog=parts.names,
        )
        stack.push_async_callback(composed.aclose)
        yield composed


async def _open(
    planned: PlannedUpstream,
    stack: AsyncExitStack,
    observe: Observer,
    tracer: Tracer,
    *,
    is_offline: bool,
) -> Upstream:
    if is_offline:
        return OfflineUpstream(urlsplit(planned.url).netloc, planned.name)
    *nearer, origin = planned.endpoints
    members = [
        Member(
            endpoint=url, account=account, upstream=_client(planned, url, source, patience, tracer)
        )
        for url, patience in (*((url, _HASTY) for url in nearer), (origin, _PATIENT))
        for account, source in _accounts(planned, url)
    ]
    upstream = FailoverUpstream(
        planned.name, members, store_prefix=planned.rules.store_prefix, observe=observe
    )
    return await stack.enter_async_context(upstream)


def origin_client(planned: PlannedUpstream, source: CredentialSource) -> RegistryUpstream:
    """Make a client of the upstream's own registry, to be opened and closed by the caller."""
    return _client(planned, planned.endpoints[-1], source, _PATIENT)


def _client(
    planned: PlannedUpstream,
    url: str,
    source: CredentialSource,
    patience: _Patience,
    tracer: Tracer = UNTRACED,
) -> RegistryUpstream:
    given = planned.settings
    realms = frozenset(given.trustedrealms) | WELL_KNOWN_REALMS.get(planned.name, frozenset())
    tls = None
    if given.ca or given.clientcertificate or given.insecure:
        tls = make_client_tls(
            ca_file=Path(given.ca) if given.ca else None,
            client_certificate=Path(given.clientcertificate) if given.clientcertificate else None,
            client_key=Path(given.clientkey) if given.clientkey else None,
            insecure=given.insecure,
        )
    return RegistryUpstream(
        url,
        credentials=source,
        timeouts=Timeouts(
            connect=given.connecttimeout.total_seconds(),
            first_byte=min(given.firstbytetimeout.total_seconds(), patience.first_byte_seconds),
            stall=given.stalltimeout.total_seconds(),
        ),
        retries=Retries(attempts=patience.attempts),
        trusted_realms=realms,
        max_manifest_bytes=given.maxmanifestsize,
        tls=tls,
        proxy=given.httpproxy or None,
        namespace=planned.namespace_at(url),
        tracing=Tracing(tracer, passes_on=given.tracecontext),
    )


def _accounts(planned: PlannedUpstream, url: str) -> Sequence[tuple[str, CredentialSource]]:
    """List the accounts to use at one endpoint, each with a name that may be shown.

    Accounts that the configuration spells out are for the host of ``remoteurl``. Another
    endpoint is another host and never gets them; a helper or a credentials file is asked for
    what belongs to that host.
    """
    given = planned.settings
    host = urlsplit(url).netloc
    if given.exec is not None:
        lifetime = given.exec.lifetime
        helper = ExecCredentials(
            command=given.exec.command,
            server=host,
            lifetime_seconds=None if lifetime is None else lifetime.total_seconds(),
        )
        return [(Path(given.exec.command).name, helper)]
    accounts: list[tuple[str, CredentialSource]] = []
    if host == urlsplit(planned.url).netloc:
        if given.username and given.password is not None:
            accounts.append((given.username, _static(given.username, given.password)))
        accounts += [
            (account.username, _static(account.username, account.password))
            for account in given.accounts
        ]
    if not accounts and given.credentialsfile:
        return [("credentialsfile", DockerConfigCredentials(Path(given.credentialsfile), host))]
    return accounts or [("anonymous", StaticCredentials())]


def _static(username: str, password: Secret) -> CredentialSource:
    return StaticCredentials(Credentials(username, password))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all mirrors share."""

    store: FilesystemStore
    flights: Flights
    in_use: BlobsInUse
    names: HeldNames
    metadata: MetadataService
    space: SpaceKeeper
    seen: SeenPlatforms
    observe: Observer
    others: OtherProcesses | None
    workers: int

    def pulled(self, repository: RepositoryName, digest: Digest) -> None:
        """Take note of a pull."""
        self.metadata.touch(repository, digest, time.time())


def _mirror(given: UpstreamSettings, upstream: Upstream, parts: _Parts) -> Mirror:
    store, observe = parts.store, parts.observe
    rules = FreshnessRules(
        tag_ttl=given.tagttl.total_seconds(),
        immutable=any_of(given.immutabletags),
        stale_limit=given.staleforhours * 3600.0 or None,
    )
    soundness = Soundness(store, observe=observe)
    platforms = PlatformRules(tuple(map(Platform.parse, given.platforms)))
    manifests = Manifests(
        store=store,
        upstream=upstream,
        rules=rules,
        soundness=soundness,
        observe=observe,
        platforms=platforms,
        budget=lambda: _budget_left(upstream),
        space=parts.space,
        others=parts.others,
    )
    blobs = Blobs(
        store=store,
        upstream=upstream,
        flights=parts.flights,
        max_transfers=math.ceil(given.maxtransfers / parts.workers),
        pace=PaceRules(connections=given.blobconnections),
        soundness=soundness,
        observe=observe,
        in_use=parts.in_use,
    )
    prefetcher = None
    if given.prefetch == "platforms" and isinstance(upstream, FailoverUpstream):
        prefetcher = Prefetcher(
            manifests=manifests,
            blobs=blobs,
            space=parts.space,
            seen=parts.seen,
            rules=platforms,
            may_spend=lambda: all(one.budget is None for one in upstream.status()),
            observe=observe,
        )
    return Mirror(
        manifests=manifests,
        blobs=blobs,
        listings=Listings(
            store=store,
            upstream=upstream,
            manifests=manifests,
            ttl_seconds=rules.tag_ttl,
            observe=observe,
            catalog=parts.names,
        ),
        pulled=parts.pulled,
        prefetcher=prefetcher,
    )


def _budget_left(upstream: Upstream) -> float:
    """Return the fraction of the pulls that the best account at the origin has left.

    The last endpoint is the origin; what a mirror in front of it allows does not spare it. An
    account whose quota is not told counts only if that holds for all of them.
    """
    if not isinstance(upstream, FailoverUpstream):
        return 1.0
    members = upstream.status()
    origin = members[-1].endpoint
    budgets = [one.budget for one in members if one.endpoint == origin]
    now = time.time()
    return max((one.fraction(now) for one in budgets if one is not None), default=1.0)
