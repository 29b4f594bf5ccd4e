"""Questions to the database, asked in threads of their own beside the writer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from roadstead.errors import MetadataError
from roadstead.metadata import candidates, lists
from roadstead.metadata.records import (
    EVERYTHING,
    EvictionCandidate,
    LooseLayer,
    Orphan,
    Pin,
    Pulls,
    Scope,
    Totals,
)
from roadstead.metadata.session import is_damage
from roadstead.metadata.writer import Writer
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.telemetry import events

Value = TypeVar("Value")
Question = Callable[[sa.Connection], Value]

_PAGE = 200
"""Rows, or images, that are read together."""
_THREADS = 2


class Reader:
    """The questions of ``roadstead.metadata.base.Metadata``, which says what each one gives."""

    def __init__(self, writer: Writer, observe: events.Observer) -> None:
        self._writer = writer
        self._observe = observe
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="metadata-reader")

    def close(self) -> None:
        """Answer what was asked, and let the threads go."""
        self._threads.shutdown()

    async def candidates(self, scope: Scope = EVERYTHING) -> AsyncIterator[EvictionCandidate]:
        """Yield all images, least recently pulled first."""
        until = await self.ask(candidates.latest_pull)
        after: candidates.Cursor | None = None
        shared: dict[int, int] = {}
        while True:
            page, after = await self.ask(
                partial(
                    candidates.candidates,
                    scope=scope,
                    after=after,
                    until=until,
                    limit=_PAGE,
                    shared=shared,
                )
            )
            for one in page:
                yield one
            if after is None:
                return

    async def images(self, repository: RepositoryName) -> AsyncIterator[EvictionCandidate]:
        """Yield the images of one repository, least recently pulled first."""
        for one in await self.ask(lambda c: candidates.images_of(c, repository)):
            yield one

    async def orphans(self) -> AsyncIterator[Orphan]:
        """Yield held data to which no repository links."""
        after = 0
        while after >= 0:
            page, after = await self.ask(partial(candidates.orphans, after=after, limit=_PAGE))
            for one in page:
                yield one

    async def loose_layers(self, scope: Scope = EVERYTHING) -> AsyncIterator[LooseLayer]:
        """Yield layer links that no held manifest of their repository needs."""
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            page, after = await self.ask(
                partial(candidates.loose_layers, scope=scope, after=after, limit=_PAGE)
            )
            for one in page:
                yield one

    async def holders(self, digest: Digest) -> int:
        """Count the held manifests, of any repository, that need this data now."""
        return await self.ask(lambda c: candidates.holders_of(c, digest))

    async def used_bytes(self, scope: Scope = EVERYTHING) -> int:
        """Sum up held data, each once."""
        return await self.ask(lambda c: lists.used_bytes(c, scope))

    async def pulls(self, repository: RepositoryName, digest: Digest) -> Pulls | None:
        """Tell how a held manifest has been pulled."""
        return await self.ask(lambda c: lists.pulls(c, repository, digest))

    async def pins(self) -> list[Pin]:
        """List the pins, by pattern."""
        return await self.ask(lists.pins)

    async def list_repositories(self, *, after: str | None, limit: int) -> list[RepositoryName]:
        """Return up to ``limit`` names behind ``after``, compared component by component."""
        return await self.ask(lambda c: lists.list_repositories(c, after=after, limit=limit))

    async def list_tags(
        self, repository: RepositoryName, *, after: str | None = None, limit: int | None = None
    ) -> list[Tag] | None:
        """Return tags in byte order; None if the repository is not held at all."""
        return await self.ask(lambda c: lists.list_tags(c, repository, after=after, limit=limit))

    async def hourly_totals(self, *, since: int) -> list[Totals]:
        """Return the totals of all hours from ``since`` on, oldest first."""
        return await self.ask(lambda c: lists.hourly_totals(c, since))

    async def ask(self, question: Question[Value]) -> Value:
        """Ask in a thread.

        Raises:
            MetadataError: there is no answer.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.answer, question)

    def answer(self, question: Question[Value]) -> Value:
        """Ask in this thread; see ``ask``."""
        session = self._writer.session
        if session is None:
            message = "the metadata database is not there"
            raise MetadataError(message)
        try:
            with session.read() as connection, connection.begin():
                return question(connection)
        except sa.exc.SQLAlchemyError as error:
            self._observe(events.MetadataFailed("read"))
            if is_damage(error):
                self._writer.reopen()
            message = f"the metadata database cannot be read: {getattr(error, 'orig', error)}"
            raise MetadataError(message) from error
