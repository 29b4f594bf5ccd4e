"""Blobs: from the store, from a running flight, or from a new one."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import BinaryIO

from cachetools import LRUCache

from roadstead.errors import BlobUnknownError, StorageError
from roadstead.mirror.content import BlobReader, HeldBlobReader, wait_whole
from roadstead.mirror.direct import DirectTransfers
from roadstead.mirror.flight import Flights
from roadstead.mirror.inuse import BlobsInUse
from roadstead.mirror.pace import PaceRules
from roadstead.mirror.parallel import ParallelTransfers
from roadstead.mirror.soundness import Soundness
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import OpenBlob, Store
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from roadstead.upstream.base import Upstream
from roadstead.upstream.limits import CallLimit

# About 20 MB when full; a miss in this map costs two small file system calls.
_KNOWN_LINKS = 100_000
_KNOWN_UNREADABLE = 10_000


class Blobs:
    """Finds a blob for a repository, and fetches it where it is not held."""

    def __init__(
        self,
        *,
        store: Store,
        upstream: Upstream,
        flights: Flights,
        max_transfers: int,
        soundness: Soundness,
        observe: events.Observer,
        in_use: BlobsInUse | None = None,
        pace: PaceRules | None = None,
    ) -> None:
        """``max_transfers`` is how many blobs are fetched from this upstream at one time.

        As many again are passed on to one client each while the store cannot take them. ``pace``
        says over how many connections a large one is fetched. ``in_use`` is told of readers.
        """
        self._store = store
        self._upstream = upstream
        self._flights = flights
        self._soundness = soundness
        self._observe = observe
        self._in_use = in_use or BlobsInUse()
        self._max_transfers = max_transfers
        self._lane = ThreadPoolExecutor(max_transfers, thread_name_prefix="transfer")
        self._transfers = ParallelTransfers(
            upstream,
            max_transfers=max_transfers,
            scratch=store.scratch_file,
            observe=observe,
            rules=pace,
        )
        self._direct = DirectTransfers(
            upstream, limit=CallLimit(calls=max_transfers), observe=observe
        )
        self._unreadable: LRUCache[Digest, bool] = LRUCache(_KNOWN_UNREADABLE)
        # By link: the size in bytes that its data had when it was found sound.
        self._linked: LRUCache[tuple[RepositoryName, Digest], int] = LRUCache(_KNOWN_LINKS)
        self._removals = 0

    def at_hand(self, repository: RepositoryName, digest: Digest) -> HeldBlobReader | None:
        """Return a reader of a held blob whose link is known in memory; waits for nothing.

        None says nothing: ask ``open`` then.
        """
        size = self._linked.get((repository, digest))
        if size is None or digest in self._unreadable:
            return None
        try:
            opened = self._store.open_blob(digest)
        except StorageError:
            return None
        if opened is not None and opened.size_bytes != size:
            opened.file.close()
            opened = None
        return None if opened is None else self._reader(repository, digest, opened)

    async def open(self, repository: RepositoryName, digest: Digest) -> BlobReader:
        """Return a reader of the blob; a fetch is joined or started if it is not held.

        Where the store cannot give it, or take it, it is passed on from upstream.

        Raises:
            BlobUnknownError: upstream has no such blob in this repository, or it is a manifest.
            UpstreamError: it is not held and upstream did not give it.
            StorageError: the mirror is stopping.
        """
        try:
            return await self._open(repository, digest)
        except StorageError:
            return await self._direct.open(repository, digest)

    async def fetch_ahead(
        self, repository: RepositoryName, digest: Digest, *, started: Callable[[], None]
    ) -> None:
        """Fetch a blob that nobody has asked for, if it is neither held nor arriving.

        ``started`` is called when it starts a flight; then it returns when the last byte is there.
        Does nothing while as many transfers as half of this upstream's are under way.

        Raises:
            RoadsteadError: as ``open``, or in the middle.
        """
        if self._flights.under_way >= self._max_transfers // 2:
            return
        if await self._store.stat_blob(repository, digest) is None:
            reader = await self._open(repository, digest, started=started)
            try:
                if reader.outcome is Outcome.MISS:
                    await wait_whole(reader)
            finally:
                reader.close()

    async def _open(
        self,
        repository: RepositoryName,
        digest: Digest,
        *,
        started: Callable[[], None] = lambda: None,
    ) -> BlobReader:
        pass_on = partial(self._direct.pass_on, repository, digest)
        while True:
            flight = self._flights.get(digest)
            if flight is not None and flight.has_failed:
                # Its error is for those who were there.
                await flight.wait_over()
                continue
            if flight is not None and repository in flight.repositories:
                return await flight.join(Outcome.JOINED, pass_on=pass_on)
            held = await self._open_held(repository, digest)
            if held is not None:
                return held
            if self._flights.get(digest) is None and not await self._has_data(digest):
                # Another request may have started it during the look into the store.
                if self._flights.get(digest) is not None:
                    continue
                # It replaces what could not be read.
                replaces = self._unreadable.pop(digest, default=False)
                flight = self._flights.start(
                    self._transfers, repository, digest, lane=self._lane, replaces=replaces
                )
                started()
                return await flight.join(Outcome.MISS, pass_on=pass_on)
            await self._admit(repository, digest)

    async def stat(self, repository: RepositoryName, digest: Digest) -> tuple[int | None, Outcome]:
        """Return the blob's size in bytes (None if nobody tells) without fetching it.

        Raises:
            As ``open``.
        """
        held = await self._open_held(repository, digest)
        if held is not None:
            held.close()
            return held.size_bytes, held.outcome
        flight = self._flights.get(digest)
        if (
            flight is not None
            and repository in flight.repositories
            and flight.progress.size_bytes is not None
        ):
            return flight.progress.size_bytes, Outcome.JOINED
        return await self._upstream.stat_blob(repository, digest), Outcome.MISS

    def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        """Pass one range through from upstream, unverified and unstored; see Upstream."""
        return self._upstream.stream_range(repository, digest, first, last)

    def forget(self, repository: RepositoryName, digest: Digest) -> None:
        """Forget a link that was removed."""
        self._removals += 1
        self._linked.pop((repository, digest), None)

    def forget_all(self) -> None:
        """Forget every link: another process has removed something."""
        self._removals += 1
        self._linked.clear()

    def stop_asking(self) -> None:
        """Start nothing more upstream; the process is stopping."""
        self._upstream.stop_transfers()

    async def stop_looking(self) -> None:
        """Let nobody wait any more for a look at held data."""
        await self._soundness.aclose()

    def close(self) -> None:
        """Let the threads go; the flights must have ended."""
        self._direct.close()
        self._lane.shutdown()
        self._transfers.close()

    async def _open_held(self, repository: RepositoryName, digest: Digest) -> BlobReader | None:
        """Open a blob that this repository has; None too for one that cannot be read."""
        if digest in self._unreadable:
            return None
        key = (repository, digest)
        size = self._linked.get(key)
        try:
            self._observe(events.CacheAsked(hit=size is not None))
            if size is None:
                removals = self._removals
                size = await self._store.stat_blob(repository, digest)
                if size is None:
                    await self._refuse_manifest(repository, digest)
                    return None
                if not await self._soundness.is_sound(digest, size):
                    # What is fetched takes its place, if it is not in quarantine already.
                    self._unreadable[digest] = True
                    return None
                # Another look is due if this link may have gone meanwhile.
                if removals == self._removals:
                    self._linked[key] = size
            # Opening is the check that the file is still there: others may collect garbage.
            opened = self._store.open_blob(digest)
        except StorageError:
            self._unreadable[digest] = True
            return None
        if opened is None:
            self._linked.pop(key, None)
            return None
        if opened.size_bytes != size:
            opened.file.close()
            return await self._look_again(repository, digest)
        return self._reader(repository, digest, opened)

    async def _look_again(self, repository: RepositoryName, digest: Digest) -> BlobReader | None:
        """Open a blob whose size has changed since it was sound."""
        size = self._linked.pop((repository, digest), None)
        if size is not None:
            self._soundness.expect_size(digest, size)
        return await self._open_held(repository, digest)

    def _reader(
        self, repository: RepositoryName, digest: Digest, opened: OpenBlob
    ) -> HeldBlobReader:
        self._in_use.begin(digest)
        return HeldBlobReader(
            opened,
            Outcome.HIT,
            pass_on=partial(self._give_up_reading, repository, digest),
            closed=partial(self._in_use.end, digest),
        )

    def _give_up_reading(
        self, repository: RepositoryName, digest: Digest, offset: int, file: BinaryIO
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Pass on what a held file does not give; the next request fetches the blob anew."""
        self._unreadable[digest] = True
        return self._direct.pass_on(repository, digest, offset, file)

    async def _has_data(self, digest: Digest) -> bool:
        return digest not in self._unreadable and await self._store.stat_data(digest) is not None

    async def _refuse_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        """Answer "unknown" for a manifest asked for as a blob.

        Served as application/octet-stream it would poison containerd's image store
        (facts/protocol.md 3.2).
        """
        if await self._store.has_manifest(repository, digest):
            raise BlobUnknownError(repository, str(digest))

    async def _admit(self, repository: RepositoryName, digest: Digest) -> None:
        """Let a repository see data that is here, or arriving, for another one.

        Only upstream can say whether this repository has the blob: the link is the access
        boundary between repositories. No byte is downloaded again.
        """
        await self._upstream.stat_blob(repository, digest)
        flight = self._flights.get(digest)
        if flight is not None:
            flight.repositories.add(repository)
        elif await self._store.stat_data(digest) is not None:
            await self._store.link_blob(repository, digest)
