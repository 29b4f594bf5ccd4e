"""The store on a local or shared file system, in distribution's layout.

Quick reads run in the event loop; whatever syncs, hashes or walks runs in a thread.
"""

import asyncio
import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage import catalog, purge, quarantine
from roadstead.storage.barrier import Barrier
from roadstead.storage.base import (
    FileIdentity,
    HeldTag,
    LinkNotes,
    NoNotes,
    OpenBlob,
    Quarantined,
    Removed,
)
from roadstead.storage.boundary import Boundary, storage_errors
from roadstead.storage.departures import Departures
from roadstead.storage.disk import Disk, look
from roadstead.storage.durability import link_atomically, write_atomically
from roadstead.storage.epoch import RemovalEpoch
from roadstead.storage.growing import FilesystemGrowingBlob
from roadstead.storage.journal import Journal
from roadstead.storage.layout import Layout
from roadstead.storage.links import (
    confirm_tag_link,
    follow_link,
    read_tag_link,
    write_link,
    write_tag_link,
)
from roadstead.storage.partial import FilesystemPartialBlob, current_boot_id
from roadstead.storage.purge import Purged
from roadstead.storage.reading import (
    AbsenceIgnored,
    data_size,
    open_regular,
    plausible_size,
    read_regular,
)
from roadstead.storage.removal import FilesystemRemoval
from roadstead.storage.walk import FilesystemWalk
from roadstead.telemetry.events import Observer, ignore

# More than a file system keeps within a file's own record, so that it needs space of the disk.
_PROBE = bytes(64 * 1024)


class FilesystemStore:
    """A ``Store``; see the protocol for what each method promises.

    ``root`` is the value of ``storage.filesystem.rootdirectory``; it is made by the first
    write, so that a process can start, and say what is wrong, where it cannot be. Every
    method raises StorageError. ``observer`` gets a StorageTimed for each action: on the event
    loop, but Move, which comes from the thread that commits a partial blob; and a StorageFailed,
    from the thread of the failure, for whatever the operating system refused.
    """

    removals: type[FilesystemRemoval] = FilesystemRemoval
    """What removes."""

    def __init__(
        self,
        root: Path,
        *,
        observer: Observer = ignore,
        clock: Callable[[], float] = time.perf_counter,
        boot_id: str | None = None,
        notes: LinkNotes | None = None,
        shared: bool = False,
    ) -> None:
        """``notes`` is told of each link before it is written.

        ``shared``: other processes fetch into this store too, and a blob that one of them fetches
        is followed and not fetched again.
        """
        self._shared = shared
        self._layout = Layout(root)
        self._notes: LinkNotes = notes or NoNotes()
        self._boundary = Boundary(observer=observer, clock=clock)
        self._boot_id = current_boot_id() if boot_id is None else boot_id
        self._epoch = RemovalEpoch(self._layout.own)
        self._barrier = Barrier(self._layout.own, epoch=self._epoch)
        self._departures = Departures(self._layout)
        self._tell_of_removals: list[Callable[[float, Sequence[Removed]], None]] = []
        self.walk = FilesystemWalk(self._layout)

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        """Return the size in bytes if ``repository`` links to it and its data is there."""
        with self._boundary.action("Stat"):
            source = follow_link(self._layout.layer_link(repository, digest), digest)
            if source is None:
                return None
            size = data_size(self._layout.blob(digest), digest)
            if size is not None or source == digest:
                return size
            return await asyncio.to_thread(self._adopt, source, digest)

    async def stat_data(self, digest: Digest) -> int | None:
        """Return the size in bytes if the data is held, whichever repository links to it."""
        with self._boundary.action("Stat"):
            return data_size(self._layout.blob(digest), digest)

    def open_blob(self, digest: Digest) -> OpenBlob | None:
        """Open held data, unbuffered; None if it is not there."""
        with self._boundary.action("GetContent"):
            file = open_regular(self._layout.blob(digest))
            if file is None:
                return None
            size = plausible_size(os.fstat(file.fileno()).st_size, digest)
            if size is None:
                file.close()
                return None
            return OpenBlob(file, size)

    async def link_blob(self, repository: RepositoryName, digest: Digest) -> bool:
        """Make held data visible in ``repository``. Idempotent; False if it is not held."""
        with self._boundary.action("PutContent", "link"):
            return await asyncio.to_thread(self._link_blob, repository, digest)

    def partial_blob(self, digest: Digest) -> FilesystemPartialBlob:
        """Open, or find from an earlier attempt, the partial file of ``digest``; blocks."""
        return FilesystemPartialBlob(
            digest,
            layout=self._layout,
            boot_id=self._boot_id,
            boundary=self._boundary,
            barrier=self._barrier,
            notes=self._notes,
            shared=self._shared,
        )

    def growing_blob(self, digest: Digest) -> FilesystemGrowingBlob | None:
        """Open the partial file that another process writes; None if there is none."""
        with self._boundary.step("following a partial blob", "open"), AbsenceIgnored():
            return FilesystemGrowingBlob(
                digest, layout=self._layout, boot_id=self._boot_id, boundary=self._boundary
            )
        return None

    def scratch_file(self) -> BinaryIO:
        """Open a nameless file on the store's disk, gone when it is closed; blocks."""
        with self._boundary.step("opening a scratch file", "open"):
            self._layout.partials.mkdir(parents=True, exist_ok=True)
            return cast("BinaryIO", TemporaryFile(dir=self._layout.partials, buffering=0))

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes | None:
        """Return a manifest that ``repository`` links to, hashed and found right."""
        with self._boundary.action("GetContent"):
            source = follow_link(self._layout.revision_link(repository, digest), digest)
            if source is None:
                return None
            content = read_regular(self._layout.blob(source))
            return content if _is_content_of(digest, content) else None

    async def has_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        """Say whether ``repository`` has a manifest link for ``digest``."""
        with self._boundary.action("Stat"):
            link = self._layout.revision_link(repository, digest)
            return follow_link(link, digest) is not None

    async def list_manifests(self, repository: RepositoryName) -> list[Digest]:
        """List the digests that ``repository`` has a manifest link for, in no order."""
        with self._boundary.action("List"):
            return await asyncio.to_thread(catalog.list_manifests, self._layout, repository)

    async def write_manifest(
        self, repository: RepositoryName, digest: Digest, content: bytes
    ) -> None:
        """Store the bytes, then the link. Whatever damaged bytes are there are replaced.

        Raises:
            DigestMismatchError: the bytes are not those of the digest.
        """
        digest.verify(content)
        with self._boundary.action("PutContent", "manifest"):
            await asyncio.to_thread(self._write_manifest, repository, digest, content)

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> HeldTag | None:
        """Return what ``tag`` points at, if its link is whole."""
        with self._boundary.action("GetContent"):
            return read_tag_link(self._layout.tag_current_link(repository, tag))

    async def write_tag(
        self, repository: RepositoryName, tag: Tag, digest: Digest, confirmed_at: float
    ) -> bool:
        """Point ``tag`` at a held manifest: history first; False if it is not held."""
        with self._boundary.action("PutContent", "tag"):
            return await asyncio.to_thread(self._write_tag, repository, tag, digest, confirmed_at)

    async def confirm_tag(self, repository: RepositoryName, tag: Tag, confirmed_at: float) -> None:
        """Note that upstream has confirmed a held tag, as its link's modification time."""
        with self._boundary.action("PutContent", "tag"):
            confirm_tag_link(self._layout.tag_current_link(repository, tag), confirmed_at)

    async def list_tags(self, repository: RepositoryName) -> list[Tag] | None:
        """Return the repository's tags in byte order, or None if it is not held at all."""
        with self._boundary.action("List"):
            return await asyncio.to_thread(catalog.list_tags, self._layout, repository)

    async def list_repositories(self, *, after: str | None, limit: int) -> list[RepositoryName]:
        """Return up to ``limit`` names behind ``after``, compared component by component."""
        with self._boundary.action("List"):
            return await asyncio.to_thread(
                catalog.list_repositories, self._layout, after=after, limit=limit
            )

    async def read_referrers(self, repository: RepositoryName, subject: Digest) -> bytes | None:
        """Return the kept document; None if there is none or it is no JSON."""
        with self._boundary.action("GetContent"):
            content = read_regular(self._layout.referrers(repository, subject))
            return content if _is_json(content) else None

    async def write_referrers(
        self, repository: RepositoryName, subject: Digest, document: bytes
    ) -> None:
        """Keep a document."""
        with self._boundary.action("PutContent", "referrers"):
            await asyncio.to_thread(self._write_referrers, repository, subject, document)

    @contextmanager
    def marking(self) -> Iterator[Journal]:
        """Begin to note links; see RemovalStore."""
        with self._barrier.mark() as journal:
            yield journal

    @contextmanager
    def removing(self) -> Iterator[FilesystemRemoval]:
        """Keep link writers away and remove; see RemovalStore."""
        with self._barrier.removing():
            removal = self._removal()
            removal.begin()
            well = False
            try:
                yield removal
                well = True
            finally:
                removal.end(well=well)

    def was_cut_short(self) -> bool:
        """Say whether a batch of removals was cut short; see RemovalStore."""
        with storage_errors("looking for removals"):
            return self._departures.any()

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Be the only collector of this volume; see CollectableStore."""
        with self._barrier.alone("collection.lock"):
            yield

    @contextmanager
    def verifying(self) -> Iterator[None]:
        """Be the only one who verifies all of this volume; see VerifiableStore."""
        with self._barrier.alone("verification.lock", needs_locks=False):
            yield

    def on_removal(self, tell: Callable[[float, Sequence[Removed]], None]) -> None:
        """Tell of each batch of removals; see RemovalStore."""
        self._tell_of_removals.append(tell)

    def others_have_removed(self) -> bool:
        """Say whether another process has removed something since the last call."""
        with storage_errors("looking for removals"):
            return self._epoch.has_passed()

    def identify(self, digest: Digest) -> FileIdentity | None:
        """Say which file holds the data of ``digest`` now; see Quarantine."""
        with self._boundary.action("Stat"):
            return quarantine.identify(self._layout.blob(digest))

    def quarantined(self) -> list[Quarantined]:
        """List what is in quarantine; see Quarantine."""
        with self._boundary.action("List"):
            return quarantine.list_quarantined(self._layout)

    def bound_quarantine(self, *, max_bytes: int, max_age_seconds: float, now: float) -> int:
        """Remove the oldest from quarantine; see Quarantine."""
        with self._boundary.action("Delete"):
            return quarantine.bound(
                self._layout, max_bytes=max_bytes, max_age_seconds=max_age_seconds, now=now
            )

    async def check(self) -> None:
        """Look at the root. One that is missing is well: the first write makes it."""
        with self._boundary.action("Stat"):
            await asyncio.to_thread(self._check_root)

    async def check_writing(self) -> None:
        """Write a small file below the root, sync it and remove it; see Store."""
        with self._boundary.action("PutContent", "probe"):
            await asyncio.to_thread(self._write_probe)

    async def remove_stale_partials(self) -> Purged:
        """Remove partial blobs that can never be resumed; for the start of a process."""
        with self._boundary.action("Delete", "remove"):
            return await asyncio.to_thread(purge.remove_stale, self._layout.partials, self._boot_id)

    def disk(self) -> Disk:
        """Look at the file system, and at what partial blobs take of it; blocks."""
        with self._boundary.action("Stat"):
            return look(self._layout)

    async def purge_partials(
        self, *, older_than_seconds: float, now: float, dry_run: bool = False
    ) -> Purged:
        """Remove partial blobs not written to for so long; ``now`` is in epoch seconds.

        distribution's ``uploadpurging.age`` is the same for its uploads, by default 168 h. A dry
        run only says what would be removed.
        """
        with self._boundary.action("Delete", "remove"):
            return await asyncio.to_thread(
                purge.remove_older,
                self._layout.partials,
                than_seconds=older_than_seconds,
                now=now,
                dry_run=dry_run,
            )

    def _removal(self) -> FilesystemRemoval:
        def tell(at: float, removed: Sequence[Removed]) -> None:
            for one in self._tell_of_removals:
                one(at, removed)

        return self.removals(
            self._layout,
            self._boundary,
            self._departures,
            tell=tell if self._tell_of_removals else None,
        )

    def _adopt(self, source: Digest, digest: Digest) -> int | None:
        """Give data that distribution stored as ``source`` its second name ``digest``.

        A link is no proof that both name the same bytes, so they are hashed, this once.
        """
        path = self._layout.blob(digest)
        file = open_regular(self._layout.blob(source))
        if file is None:
            return None
        with file:
            if hashlib.file_digest(file, digest.hasher).hexdigest() != digest.encoded:
                return None
            size = os.fstat(file.fileno()).st_size
        with self._barrier.linking([digest, source]), AbsenceIgnored():
            self._notes.data(digest, size)
            link_atomically(self._layout.blob(source), path)
        return data_size(path, digest)

    def _link_blob(self, repository: RepositoryName, digest: Digest) -> bool:
        with self._barrier.linking([digest]):
            size = data_size(self._layout.blob(digest), digest)
            if size is None:
                return False
            self._notes.layer(repository, digest, size)
            write_link(self._layout.layer_link(repository, digest), digest)
            return True

    def _write_manifest(self, repository: RepositoryName, digest: Digest, content: bytes) -> None:
        path = self._layout.blob(digest)
        with self._barrier.linking([digest]):
            self._notes.manifest(repository, digest, content)
            if read_regular(path, limit_bytes=len(content) + 1) != content:
                write_atomically(path, content)
            write_link(self._layout.revision_link(repository, digest), digest)

    def _write_tag(
        self, repository: RepositoryName, tag: Tag, digest: Digest, confirmed_at: float
    ) -> bool:
        with self._barrier.linking([digest]):
            source = follow_link(self._layout.revision_link(repository, digest), digest)
            if source is None or data_size(self._layout.blob(source), source) is None:
                return False
            self._notes.tag(repository, tag, digest)
            write_link(self._layout.tag_index_link(repository, tag, digest), digest)
            write_tag_link(self._layout.tag_current_link(repository, tag), digest, confirmed_at)
            return True

    def _write_referrers(
        self, repository: RepositoryName, subject: Digest, document: bytes
    ) -> None:
        # No link, but a removal prunes the directories of such documents.
        with self._barrier.linking([]):
            write_atomically(self._layout.referrers(repository, subject), document)

    def _write_probe(self) -> None:
        path = self._layout.write_probe
        try:
            write_atomically(path, _PROBE)
        finally:
            path.unlink(missing_ok=True)

    def _check_root(self) -> None:
        try:
            found = self._layout.root.stat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _is_content_of(digest: Digest, content: bytes | None) -> bool:
    return content is not None and Digest.of(content, digest.algorithm) == digest


def _is_json(content: bytes | None) -> bool:
    try:
        json.loads(content or b"")
    except (ValueError, RecursionError):
        return False
    return True
