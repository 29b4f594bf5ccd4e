"""An upstream with several endpoints and accounts: whoever can answer, does.

Endpoints are asked in order (a regional mirror, then the origin), those that fail are left
alone for a while, and a transfer that breaks goes on at another endpoint from the byte where it
stopped. Of an endpoint's accounts the one with the most quota left is used.
"""

import random as random_module
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Self, TypeVar

from roadstead.errors import RepositoryUnknownError, UnknownContentError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.telemetry.events import CallKind, Observer
from roadstead.upstream.base import FetchedManifest, ManifestHead, TagPage
from roadstead.upstream.budget import Budget, Cost
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.endpoints import Endpoint, Member, MemberStatus, Surroundings
from roadstead.upstream.limits import CallLimit, Turns
from roadstead.upstream.rounds import Round
from roadstead.upstream.watched import WatchedTransfer, watched

Value = TypeVar("Value")


class FailoverUpstream:
    """The Upstream of the mirror; an async context manager that opens and closes its members.

    ``name`` is the upstream's configured name, for metrics. ``members`` are grouped by their
    endpoint, in order of first mention; the last endpoint is the origin, whose word is final.
    ``store_prefix`` stands in front of this upstream's repositories in the store, and is cut
    from the names that the members see. ``clock`` measures pauses, ``wall_clock`` quotas.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        *,
        store_prefix: str = "",
        observe: Observer,
        limit: CallLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        around = Surroundings(
            name=name, observe=observe, clock=clock, wall_clock=wall_clock, random=random
        )
        self._name = name
        self._members = tuple(members)
        self._endpoints = [
            Endpoint(url, [one for one in members if one.endpoint == url], around)
            for url in dict.fromkeys(member.endpoint for member in members)
        ]
        if not self._endpoints:
            message = f"upstream {name} has no endpoint"
            raise ValueError(message)
        self._store_prefix = store_prefix
        self._turns = Turns(limit or CallLimit(), upstream=self.host)
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for member in self._members:
                await stack.enter_async_context(member.upstream)
            self._opened = stack.pop_all()
        for endpoint in self._endpoints:
            endpoint.announce()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._opened.aclose()

    @property
    def name(self) -> str:
        """See Upstream."""
        return self._name

    @property
    def host(self) -> str:
        """See Upstream; that of the first endpoint."""
        return self._endpoints[0].authority

    def status(self) -> list[MemberStatus]:
        """Tell how each member stands, in the order in which endpoints are asked."""
        return [status for endpoint in self._endpoints for status in endpoint.status()]

    def adopt_budget(self, endpoint: str, account: str, budget: Budget) -> None:
        """Take what another process was told of an account's quota; see ``status`` for names."""
        for one in self._endpoints:
            for known in one.accounts:
                if (one.authority, known.member.account) == (endpoint, account):
                    known.adopt(budget)

    async def head_manifest(
        self, repository: RepositoryName, reference: Reference
    ) -> ManifestHead | None:
        """See Upstream."""
        name = self._own(repository)
        return await self._ask(
            lambda upstream: upstream.head_manifest(name, reference), CallKind.MANIFEST_HEAD
        )

    async def get_manifest(
        self, repository: RepositoryName, reference: Reference
    ) -> FetchedManifest:
        """See Upstream."""
        name = self._own(repository)
        return await self._ask(
            lambda upstream: upstream.get_manifest(name, reference),
            CallKind.MANIFEST,
            cost=Cost.COUNTED,
        )

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        """See Upstream."""
        name = self._own(repository)
        return await self._ask(
            lambda upstream: upstream.stat_blob(name, digest), CallKind.BLOB_HEAD
        )

    def open_blob(
        self, repository: RepositoryName, digest: Digest, offset: int, *, stop: int | None = None
    ) -> WatchedTransfer:
        """See Upstream; must not be called on the event loop's own thread."""
        name = self._own(repository)
        tries = Round(self._endpoints, CallKind.BLOB)
        for attempt in tries.attempts():
            with attempt as upstream:
                transfer = upstream.open_blob(name, digest, offset, stop=stop)
                return WatchedTransfer(transfer, attempt.permit)
        raise tries.answer()

    def stop_transfers(self) -> None:
        """See Upstream."""
        for member in self._members:
            member.upstream.stop_transfers()

    @asynccontextmanager
    async def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """See Upstream.

        Raises:
            BlobUnknownError: there is none, or it is a manifest.
            UpstreamError: no endpoint answered, one said no, or broke off.
        """
        name = self._own(repository)
        async with AsyncExitStack() as stack:
            # Only the beginning takes a turn: how long the rest takes is up to the client.
            yield await self._open_range(stack, name, digest, first, last)

    async def list_tags(
        self, repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagPage:
        """See Upstream."""
        name = self._own(repository)
        return await self._ask(
            lambda upstream: upstream.list_tags(name, limit=limit, after=after), CallKind.TAGS
        )

    async def list_referrers(
        self, repository: RepositoryName, subject: Digest
    ) -> list[dict[str, Any]] | None:
        """See Upstream."""
        name = self._own(repository)

        async def ask(upstream: RegistryUpstream) -> list[dict[str, Any]]:
            found = await upstream.list_referrers(name, subject)
            if found is None:
                # The next endpoint may have the API that this one lacks.
                raise RepositoryUnknownError(name)
            return found

        try:
            return await self._ask(ask, CallKind.REFERRERS)
        except UnknownContentError:
            return None

    async def _ask(
        self,
        call: Callable[[RegistryUpstream], Awaitable[Value]],
        kind: CallKind,
        *,
        cost: Cost = Cost.FREE,
    ) -> Value:
        async with self._turns.take():
            tries = Round(self._endpoints, kind, cost)
            for attempt in tries.attempts():
                with attempt as upstream:
                    return await call(upstream)
            raise tries.answer()

    async def _open_range(
        self,
        stack: AsyncExitStack,
        name: RepositoryName,
        digest: Digest,
        first: int,
        last: int | None,
    ) -> AsyncIterator[bytes] | None:
        async with self._turns.take():
            tries = Round(self._endpoints, CallKind.RANGE)
            for attempt in tries.attempts():
                with attempt as upstream:
                    stream = await stack.enter_async_context(
                        upstream.stream_range(name, digest, first, last)
                    )
                    if stream is None:
                        return None
                    return await stack.enter_async_context(
                        aclosing(watched(stream, attempt.permit))
                    )
            raise tries.answer()

    def _own(self, repository: RepositoryName) -> RepositoryName:
        """Turn a stored name into upstream's own."""
        if not repository.startswith(self._store_prefix):
            message = f"{repository} is no repository of {self._name}"
            raise ValueError(message)
        return RepositoryName(repository.removeprefix(self._store_prefix))
