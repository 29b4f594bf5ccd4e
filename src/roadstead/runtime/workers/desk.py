"""A worker's side of the channel: what it asks of the keeper, and what it is asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, TypeVar

from roadstead.errors import MetadataError
from roadstead.metadata.service import MetadataService
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.runtime.readiness import Readiness
from roadstead.runtime.status import StatusBoard
from roadstead.runtime.workers import removed as removals
from roadstead.runtime.workers.channel import Channel, ChannelClosedError, Message
from roadstead.storage.base import Removed, RemovedTag
from roadstead.storage.filesystem import FilesystemStore
from roadstead.upstream.budget import Budget

_REPORT_SECONDS: Final = 1.0

Value = TypeVar("Value")


class RemoteReservation:
    """A Reservation that the keeper has granted; see the protocol."""

    def __init__(self, desk: "Desk", number: int, granted_bytes: int) -> None:
        self._desk = desk
        self._number = number
        self._granted_bytes = granted_bytes

    def grow(self, size_bytes: int) -> bool:
        """Have room for ``size_bytes`` in all; for threads."""
        if size_bytes > self._granted_bytes:
            asking = self._desk.ask("grow", number=self._number, size_bytes=size_bytes)
            self._granted_bytes = self._desk.wait(asking, 0) or 0
        return size_bytes <= self._granted_bytes

    def release(self) -> None:
        """Note that nothing more of it will be written."""
        self._desk.tell_from_anywhere("release", number=self._number)


class Desk:
    """The keeper as a worker sees it: a SpaceKeeper, the turns at upstream, and a listener.

    ``mirrors`` and what it reports are set once the worker runs. When the keeper is gone nothing
    more is kept, and the worker is about to end.
    """

    def __init__(self, channel: Channel) -> None:
        """Made on the worker's event loop."""
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self.mirrors: Mirrors | None = None
        self._report: Callable[[], Message] = dict
        self._board: StatusBoard | None = None
        self._metadata: MetadataService | None = None
        self.retiring = asyncio.Event()
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.closed = asyncio.Event()

    def attend(
        self,
        store: FilesystemStore,
        mirrors: Mirrors,
        board: StatusBoard,
        readiness: Readiness,
        metadata: MetadataService,
    ) -> None:
        """Speak for a worker that has these."""
        store.on_removal(self.removed)
        self.mirrors = mirrors
        self._report = lambda: _report(mirrors, board, readiness)
        self._board = board
        self._metadata = metadata

    async def run(self) -> None:
        """Serve the channel until the keeper is gone."""
        try:
            await self._channel.run(self)
        finally:
            self.closed.set()

    async def reporting(self) -> None:
        """Report every second, until cancelled: what is known when the worker dies suddenly."""
        while True:
            self._channel.tell("report", report=self._report())
            await asyncio.sleep(_REPORT_SECONDS)

    async def finish(self) -> None:
        """Report for the last time."""
        self._channel.tell("report", report=self._report())
        await self._channel.drain()
        self._channel.close()

    def signalled(self) -> None:
        """Stop; a second signal is to hurry. The keeper's word does not count as one.

        Some service managers send signals to all processes of a service at once.
        """
        (self.hurry if self.stopping.is_set() else self.stopping).set()

    def ready(self) -> None:
        """Say that clients are being served."""
        self._channel.tell("ready")

    def told(self, what: str, message: Message) -> None:
        """See Answering."""
        if what == "retire":
            self.retiring.set()
        elif what == "stop":
            self.stopping.set()
        elif what == "hurry":
            self.hurry.set()
        elif what == "forget" and self.mirrors is not None:
            self.mirrors.forget(removals.from_json(message["removed"]))
        elif what == "budgets" and self._board is not None:
            _adopt(message["budgets"], self._board)

    async def answer(self, what: str, _message: Message) -> object:
        """See Answering."""
        if what == "report":
            return self._report()
        if self._metadata is not None and self._metadata.database is not None:
            with suppress(MetadataError):
                await self._metadata.database.flush()
        if self.mirrors is None:
            return None
        return {
            "in_use": [str(one) for one in self.mirrors.in_use()],
            "pulling_since": self.mirrors.pulling_since(),
        }

    def removed(self, _at: float, batch: Sequence[Removed]) -> None:
        """Tell of removals, for the store's ``on_removal``; from any thread."""
        self.tell_from_anywhere("forget", removed=removals.to_json(batch))

    def moved(self, repository: RepositoryName, tag: Tag) -> None:
        """Tell that a tag points at something else: others look at its link again."""
        self._channel.tell("forget", removed=removals.to_json([RemovedTag(repository, tag)]))

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Be the only worker that asks upstream for ``name``."""
        asking = asyncio.ensure_future(self._channel.ask("turn", name=name))
        try:
            with suppress(ChannelClosedError):
                await asyncio.shield(asking)
            yield
        finally:
            # Also if the wait was cancelled: then as soon as it is granted.
            asking.add_done_callback(lambda asked: self._give_back(name, asked))

    def reserve(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None
    ) -> RemoteReservation | None:
        """Make room for a blob; for threads."""
        return self.wait(self._reserve(repository, digest, size_bytes), None)

    async def reserve_on_loop(
        self, repository: RepositoryName, digest: Digest, size_bytes: int
    ) -> RemoteReservation | None:
        """Make room for a manifest."""
        return await self._reserve(repository, digest, size_bytes)

    async def has_room(self, size_bytes: int) -> bool:
        """Say whether so much would fit without an eviction."""
        return bool(await self.ask("room", size_bytes=size_bytes))

    def note_full(self) -> None:
        """Have something evicted soon."""
        self.tell_from_anywhere("full")

    async def ask(self, what: str, **message: object) -> Any:  # noqa: ANN401 - whatever was asked for
        """Ask the keeper; None if it is gone."""
        with suppress(ChannelClosedError):
            return await self._channel.ask(what, **message)
        return None

    def wait(self, work: Coroutine[Any, Any, Value], default: Value) -> Value:
        """Wait in a thread for what the event loop does."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (CancelledError, RuntimeError):
            # The process is stopping.
            work.close()
            return default

    def tell_from_anywhere(self, what: str, **message: object) -> None:
        """Tell the keeper, from any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._channel.tell(what, **message))

    async def _reserve(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None
    ) -> RemoteReservation | None:
        granted = await self.ask(
            "reserve", repository=repository, digest=str(digest), size_bytes=size_bytes
        )
        return None if granted is None else RemoteReservation(self, *granted)

    def _give_back(self, name: str, asked: "asyncio.Future[Any]") -> None:
        if not asked.cancelled() and asked.exception() is None:
            self._channel.tell("turn over", name=name)


def _report(mirrors: Mirrors, board: StatusBoard, readiness: Readiness) -> Message:
    healthy, failing = readiness.checks()
    return {
        "metrics": board.metrics.dump(),
        "healthy": healthy,
        "failing": failing,
        "upstreams": board.members(),
        "flights": [asdict(one) for one in mirrors.running()],
        "budgets": [
            {"of": [name, one.endpoint, one.account], **asdict(one.budget)}
            for name, upstream in board.upstreams.items()
            for one in upstream.status()
            if one.budget is not None
        ],
    }


def _adopt(budgets: Sequence[Mapping[str, Any]], board: StatusBoard) -> None:
    for one in budgets:
        name, endpoint, account = one["of"]
        upstream = board.upstreams.get(name)
        if upstream is not None:
            told = {key: value for key, value in one.items() if key != "of"}
            upstream.adopt_budget(endpoint, account, Budget(**told))
