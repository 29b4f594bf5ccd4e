"""Blobs that the store cannot take, handed from upstream to one client each.

Every client has a transfer of its own, read piece by piece as the client takes them, so memory
is one piece for each. All bytes are hashed; the last piece is given only when the digest is right.
A cut transfer is resumed as in a flight.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import BinaryIO, NoReturn, TypeVar

from roadstead.errors import StorageUnavailableError
from roadstead.mirror.coalesce import Coalescer
from roadstead.mirror.pump import RetryPolicy
from roadstead.mirror.source import BlobSource, hash_beginning
from roadstead.oci.digest import Digest, Hasher
from roadstead.oci.reference import RepositoryName
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from roadstead.upstream.base import Upstream
from roadstead.upstream.limits import CallLimit, Turns

Value = TypeVar("Value")


class DirectTransfers:
    """Those of one upstream, a bounded number at one time."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        limit: CallLimit,
        observe: events.Observer,
        retry: RetryPolicy | None = None,
    ) -> None:
        """``limit`` says how many at one time, and how long the next one waits for its turn."""
        self._upstream = upstream
        self._retry = retry or RetryPolicy()
        self._observe = observe
        self._turns = Turns(limit, upstream=upstream.host)
        # A client that takes nothing holds no thread; an upstream that gives nothing does.
        self._threads = ThreadPoolExecutor(limit.calls, thread_name_prefix="direct")
        self._prefixes: Coalescer[tuple[Digest, int], Hasher] = Coalescer()
        self._sources: set[BlobSource] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self, repository: RepositoryName, digest: Digest) -> "DirectReader":
        """Begin the transfer of a whole blob.

        Raises:
            BlobUnknownError: upstream has no such blob, or it is a manifest.
            UpstreamError: upstream did not give it, or too many transfers are under way.
        """
        async with AsyncExitStack() as stack:
            source = await self._begin(stack, repository, digest, digest.hasher(), position=0)
            kept = stack.pop_all()
        return DirectReader(
            source.size_bytes,
            stream=lambda offset: self._verified(source, digest, offset),
            leave=lambda: self._leave(kept),
        )

    @asynccontextmanager
    async def pass_on(
        self, repository: RepositoryName, digest: Digest, offset: int, file: BinaryIO
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Go on at ``offset``; the bytes before it, hashed too, are in ``file``.

        Raises:
            StorageUnavailableError: these cannot be read.
            RoadsteadError: as ``open``; DigestMismatchError from the iterator, at its end.
        """
        async with AsyncExitStack() as stack:
            hasher = digest.hasher()
            if offset:
                prefix, _ = await self._prefixes.run(
                    (digest, offset), lambda: self._hash_prefix(digest, offset, file)
                )
                hasher = prefix.copy()
            source = await self._begin(stack, repository, digest, hasher, position=offset)
            stream = self._verified(source, digest, offset)
            yield await stack.enter_async_context(aclosing(stream))

    def close(self) -> None:
        """End all transfers, and begin no more."""
        self._closed = True
        for source in self._sources:
            source.abort()
        self._threads.shutdown(wait=False)

    async def _begin(
        self,
        stack: AsyncExitStack,
        repository: RepositoryName,
        digest: Digest,
        hasher: Hasher,
        *,
        position: int,
    ) -> BlobSource:
        await stack.enter_async_context(self._turns.take())
        source = BlobSource(
            lambda offset: self._upstream.open_blob(repository, digest, offset),
            host=self._upstream.host,
            retry=self._retry,
            hasher=hasher,
            position=position,
        )
        self._sources.add(source)
        stack.push_async_callback(self._let_go, source)
        await self._in_thread(source.begin)
        self._observe(events.PassedOn())
        return source

    async def _verified(
        self, source: BlobSource, digest: Digest, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """Give what lies behind ``offset``; each piece waits for its successor, or the digest."""
        started, begun_at = time.perf_counter(), source.position
        if begun_at > offset:
            message = "it was passed on already, and goes only once"
            raise StorageUnavailableError(message)
        waiting = b""
        while chunk := await self._in_thread(source.read):
            surplus = max(offset - (source.position - len(chunk)), 0)
            if surplus < len(chunk):
                if waiting:
                    yield waiting
                waiting = chunk[surplus:]
        source.verify(digest)
        elapsed = time.perf_counter() - started
        size = source.position - begun_at
        self._observe(events.Fetched(events.Kind.BLOB, size, elapsed, self._upstream.name))
        if waiting:
            yield waiting

    async def _hash_prefix(self, digest: Digest, count: int, file: BinaryIO) -> Hasher:
        # Of its own, because the reader's may be closed meanwhile.
        descriptor = os.dup(file.fileno())
        return await self._in_thread(lambda: hash_beginning(digest, count, descriptor))

    async def _in_thread(self, work: Callable[[], Value]) -> Value:
        if self._closed:
            message = "the mirror is stopping"
            raise StorageUnavailableError(message)
        run = partial(copy_context().run, work)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def _let_go(self, source: BlobSource) -> None:
        self._sources.discard(source)
        source.abort()
        if not self._closed:
            await self._in_thread(source.close)

    def _leave(self, stack: AsyncExitStack) -> None:
        task = asyncio.get_running_loop().create_task(stack.aclose())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class DirectReader:
    """A BlobReader without a file: all of it is passed on."""

    outcome = Outcome.MISS

    def __init__(
        self,
        size_bytes: int | None,
        *,
        stream: Callable[[int], AsyncGenerator[bytes, None]],
        leave: Callable[[], None],
    ) -> None:
        self.size_bytes = size_bytes
        self._stream = stream
        self._leave: Callable[[], None] | None = leave

    @property
    def file(self) -> BinaryIO:
        """See BlobReader."""
        _raise_not_kept()

    async def wait_beyond(self, _offset: int) -> int:
        """See BlobReader."""
        _raise_not_kept()

    def pass_on(self, offset: int) -> aclosing[AsyncGenerator[bytes, None]]:
        """See BlobReader; upstream is read once, in order."""
        return aclosing(self._stream(offset))

    def is_near(self, _offset: int) -> bool:
        """See BlobReader."""
        return False

    def close(self) -> None:
        """See BlobReader."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


def _raise_not_kept() -> NoReturn:
    message = "the store cannot take it"
    raise StorageUnavailableError(message)
