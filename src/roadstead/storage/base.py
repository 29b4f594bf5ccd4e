"""What every store does, as protocols with their contracts in words.

A store keeps *data* by digest, once, and per repository *links* to it. A link is the access
boundary: content is visible in a repository only through that repository's own link. Nothing
is visible before it is verified and complete, and every write is atomic and survives a crash.

Reads tolerate every leftover of a crash, ours or distribution's: a damaged link or an
incomplete file is absent, never an error. Only input and output errors are raised, as
StorageError (StorageFullError when space ran out).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Protocol, TypeAlias

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A held blob, open for reading; whoever gets it closes ``file``."""

    file: BinaryIO
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HeldTag:
    """What a tag points at, and when upstream last confirmed it (seconds since the epoch).

    A file system keeps that time as the modification time of the tag's current link, so that
    freshness survives a restart, also on a volume that distribution filled.
    """

    digest: Digest
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class HeldLink:
    """A link of a repository, as a walk finds it.

    ``source`` is the digest under which its content lies, nearly always ``digest`` itself; None
    for a link that is damaged or whose file is missing. ``stored_at`` is the time of the link
    in seconds since the epoch.
    """

    digest: Digest
    source: Digest | None
    stored_at: float


@dataclass(frozen=True, slots=True)
class HeldTagLinks:
    """A tag, as a walk finds it.

    ``current`` is what it points at, None if that link is damaged; ``history`` all that it points
    or once pointed at; ``stored_at`` when it was last confirmed.
    """

    tag: Tag
    current: Digest | None
    history: frozenset[Digest]
    stored_at: float


@dataclass(frozen=True, slots=True)
class HeldData:
    """Data, as a walk finds it; an empty file may be a leftover."""

    digest: Digest
    size_bytes: int
    stored_at: float


@dataclass(frozen=True, slots=True)
class Linker:
    """A repository that links to ``digest``, as a manifest or as a layer."""

    repository: RepositoryName
    digest: Digest
    is_manifest: bool


@dataclass(frozen=True, slots=True)
class RemovedTag:
    """A tag was removed."""

    repository: RepositoryName
    tag: Tag


@dataclass(frozen=True, slots=True)
class RemovedManifest:
    """A repository's link to a manifest was removed."""

    repository: RepositoryName
    digest: Digest


@dataclass(frozen=True, slots=True)
class RemovedLayerLink:
    """A repository's link to a layer or config was removed."""

    repository: RepositoryName
    digest: Digest


@dataclass(frozen=True, slots=True)
class RemovedData:
    """Data was removed; ``size_bytes`` is the size of its file."""

    digest: Digest
    size_bytes: int


class Damage(StrEnum):
    """What is wrong with data; the value of a label of metrics."""

    CONTENT = "content"
    """The bytes are not those of the digest: some are wrong, or missing."""
    EMPTY = "empty"
    """There are none, which a crash leaves behind."""
    UNREADABLE = "unreadable"
    """They cannot be read: no permission, or a disk that fails."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells a file from the one that has replaced it; sizes are bytes."""

    device: int
    inode: int
    size_bytes: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Damaged data that is kept to be looked at, since ``since`` (seconds since the epoch)."""

    digest: Digest
    damage: Damage
    size_bytes: int
    since: float
    path: str


Removed: TypeAlias = RemovedTag | RemovedManifest | RemovedLayerLink | RemovedData


class PartialBlob(Protocol):
    """A blob while it arrives: written by one thread, read by any number of others.

    The methods block and belong to the writing thread, but ``open_reader``, which may be
    called from any thread at any moment until ``close`` or ``discard``. A partial blob that is
    neither committed nor discarded stays on disk and is found again by the next ``partial``
    of the same digest.
    """

    @property
    def offset(self) -> int:
        """How many bytes are written (at first: found from an earlier attempt)."""

    def open_reader(self) -> BinaryIO:
        """Open the growing file; the handle outlives commit and discard."""

    def write(self, chunk: bytes) -> None:
        """Append and hash."""

    def prefix_hexdigest(self) -> str:
        """Return the hash of all that is written so far, in the blob's own algorithm."""

    def verify(self) -> None:
        """Compare the hash of what is written with the blob's digest.

        Raises:
            DigestMismatchError: it is something else.
        """

    def sync(self) -> None:
        """Make all that is written durable. Idempotent.

        A failure is final: what reads as written may be lost on the disk, so the partial blob
        is discarded, and nobody should go on reading it.
        """

    def commit(self, repositories: frozenset[RepositoryName]) -> None:
        """Sync what ``verify`` has approved, make it visible, link it into ``repositories``."""

    def restart(self) -> None:
        """Forget all bytes written and begin anew at offset 0, in the same file."""

    def discard(self) -> None:
        """Remove the partial file; readers that have it open keep their handle."""

    def announce(self, repository: RepositoryName, size_bytes: int | None) -> None:
        """Tell other processes that upstream sends the blob, for ``repository``, of that size.

        What is written from then on, and what was found, may be shown by them; see GrowingBlob.
        """

    def announce_verified(self) -> None:
        """Tell other processes that ``verify`` has approved all of it."""

    def close(self) -> None:
        """Let go of the file and keep it on disk, to be resumed. Idempotent."""


class GrowthEnd(StrEnum):
    """Why a blob grows no more."""

    COMMITTED = "committed"
    """It is held now, in the very file that was followed."""
    FREE = "free"
    """Its writer has let go of it, or died: the next ``partial_blob`` goes on."""
    GONE = "gone"
    """Its file was given up: another one is or will be in its place."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the writer of a growing blob has told; no size: upstream has not told it."""

    repository: RepositoryName
    size_bytes: int | None
    is_verified: bool


class GrowingBlob(Protocol):
    """A partial blob that another process writes; every method blocks, for a moment.

    Its file is only ever appended to: a writer that begins anew takes a new file.
    """

    @property
    def file(self) -> BinaryIO:
        """The file, open; it outlives its end, and whoever took it closes it."""

    def arrived(self) -> int:
        """Return how many bytes are written."""

    def announcement(self) -> Announcement | None:
        """Return what was announced, None if nothing is (yet)."""

    def end(self) -> GrowthEnd | None:
        """Say how it ended; None while its writer is at work."""


class BlobStore(Protocol):
    """Layers and configs."""

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        """Return the size in bytes if ``repository`` links to it and its data is there."""

    async def stat_data(self, digest: Digest) -> int | None:
        """Return the size in bytes if the data is held, whichever repository links to it."""

    def open_blob(self, digest: Digest) -> OpenBlob | None:
        """Open held data; quick enough for the event loop. None if it is not there."""

    async def link_blob(self, repository: RepositoryName, digest: Digest) -> bool:
        """Make held data visible in ``repository``. Idempotent; False if it is not held (now)."""

    def partial_blob(self, digest: Digest) -> PartialBlob:
        """Open, or find from an earlier attempt, the partial file of ``digest``.

        Blocks while what is found is hashed again; belongs in a thread.

        Raises:
            StorageBusyError: another process writes it, which ``growing_blob`` follows; only
                from a store that shares its partial blobs.
        """

    def growing_blob(self, digest: Digest) -> GrowingBlob | None:
        """Open the partial blob of ``digest`` that another process writes; None: there is none."""

    def scratch_file(self) -> BinaryIO:
        """Open a nameless file on the store's disk, gone when it is closed; blocks.

        Raises:
            StorageError: there is no place for it.
        """


class ManifestStore(Protocol):
    """Manifests and the tags that name them."""

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes | None:
        """Return a manifest that ``repository`` links to, hashed and found right."""

    async def has_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        """Say whether ``repository`` has a manifest link for ``digest``."""

    async def list_manifests(self, repository: RepositoryName) -> list[Digest]:
        """List the digests that ``repository`` has a manifest link for, in no order."""

    async def write_manifest(
        self, repository: RepositoryName, digest: Digest, content: bytes
    ) -> None:
        """Store verified bytes and link them. Idempotent."""

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> HeldTag | None:
        """Return what ``tag`` points at, if its link is whole."""

    async def write_tag(
        self, repository: RepositoryName, tag: Tag, digest: Digest, confirmed_at: float
    ) -> bool:
        """Point ``tag`` at a held manifest: history link first, then the current one.

        False, and nothing is written, if the repository does not hold ``digest`` (any more).
        """

    async def confirm_tag(self, repository: RepositoryName, tag: Tag, confirmed_at: float) -> None:
        """Note that upstream has confirmed a held tag. Cheap: no sync; losing it costs a HEAD."""


class Catalog(Protocol):
    """The names of what a store holds."""

    async def list_repositories(self, *, after: str | None, limit: int) -> list[RepositoryName]:
        """Return up to ``limit`` names behind ``after`` in distribution's order.

        The order is component-wise: ``a/b`` comes before ``a-b``.
        """

    async def list_tags(self, repository: RepositoryName) -> list[Tag] | None:
        """Return the repository's tags in byte order, or None if it is not held at all."""


class ReferrersStore(Protocol):
    """Referrers as upstream last told them, so that they outlive an outage."""

    async def read_referrers(self, repository: RepositoryName, subject: Digest) -> bytes | None:
        """Return the kept document, if any."""

    async def write_referrers(
        self, repository: RepositoryName, subject: Digest, document: bytes
    ) -> None:
        """Keep a document."""


class Walk(Protocol):
    """Iterators over all that is held, for threads: they read as they go, and block.

    What comes or goes meanwhile may be missed. Leftovers are passed over; damaged links are told
    as such. Faults are raised as OSError.
    """

    def repositories(self) -> Iterator[RepositoryName]:
        """Yield all repositories in the catalog's order."""

    def revisions(self, repository: RepositoryName) -> Iterator[HeldLink]:
        """Yield a repository's links to manifests."""

    def layers(self, repository: RepositoryName) -> Iterator[HeldLink]:
        """Yield a repository's links to layers and configs."""

    def tags(self, repository: RepositoryName) -> Iterator[HeldTagLinks]:
        """Yield a repository's tags."""

    def tag(self, repository: RepositoryName, tag: Tag) -> HeldTagLinks | None:
        """Look at one tag; None if there is no trace of it."""

    def data(self, after: Digest | None = None) -> Iterator[HeldData]:
        """Yield all data behind ``after``, by algorithm, then in the order of the digests."""

    def linkers(self, digests: Collection[Digest]) -> Iterator[Linker]:
        """Yield who links to any of ``digests``, whether or not its data is there."""

    def read(self, digest: Digest) -> bytes | None:
        """Return held data if it looks like a JSON document; it is not hashed."""

    def leftovers(self, *, before: float) -> Iterator[str]:
        """Yield uploads, temporary files and bare directories that nobody has touched since.

        By their paths below the root; ``before`` is in seconds since the epoch.
        """


class Mark(Protocol):
    """What is linked while somebody finds out what may go."""

    def linked(self) -> set[Digest]:
        """Return what was linked, or committed, since the last call (at first: the beginning).

        Call it during a removal only: a link is noted before it is written, and before its
        manifest can be read. Whatever is in here must stay, with all that it needs if it is a
        manifest.
        """


class Removal(Protocol):
    """One short batch of removals, about 50 ms; blocks, for threads.

    No link is written meanwhile: what is looked up here holds until the end of the batch. Links
    go first and data last. Emptied directories go with what was in them.
    """

    def remove_tag(self, repository: RepositoryName, tag: Tag) -> bool:
        """Remove a tag with its history; False if there was none."""

    def untag(self, repository: RepositoryName, tag: Tag) -> bool:
        """Remove what a tag points at, but not its history; False if it pointed at nothing.

        So the collector still sees that a tag once pointed at that manifest.
        """

    def remove_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        """Remove a repository's manifest, not its data; False if there was none.

        Its traces in the history of tags and its kept referrers go too; tags that point at it
        stay, and lead nowhere.
        """

    def remove_layer_link(self, repository: RepositoryName, digest: Digest) -> bool:
        """Remove a repository's layer, not its data; False if there was none."""

    def remove_data(self, digest: Digest) -> int:
        """Remove data; return how many bytes that has freed. Whoever reads it reads on."""

    def remove_leftover(self, path: str) -> int:
        """Remove what ``Walk.leftovers`` has found; return how many bytes that has freed."""

    def quarantine_data(self, digest: Digest, damage: Damage, seen: FileIdentity) -> bool:
        """Put damaged data out of sight; links to it stay, and the next request fetches it.

        False, and nothing is done, if its file is another one than was seen to be damaged.
        """


class RemovalStore(Protocol):
    """What evicting and collecting needs; every method is for threads.

    A plan is made after ``marking`` has begun; each step is then looked at again within
    ``removing``, by links on disk and ``Mark.linked``.
    """

    @property
    def walk(self) -> Walk:
        """Walks over what is held."""

    def marking(self) -> AbstractContextManager[Mark]:
        """Begin to note links; all that were written before are seen by a walk from now on."""

    def removing(self) -> AbstractContextManager[Removal]:
        """Keep link writers and other removers away for a moment.

        What a batch that was cut short has removed, and nobody was told of, is told of first.

        Raises:
            StorageError: that is not possible, now or (without locks) ever.
        """

    def was_cut_short(self) -> bool:
        """Say whether a batch of removals, of any process, was cut short, or is running; quick.

        Raises:
            StorageError: that cannot be seen.
        """

    def on_removal(self, tell: Callable[[float, Sequence[Removed]], None]) -> None:
        """Tell of each batch of removals by this object, before links can be written again.

        ``tell`` gets the time at which the batch began (epoch seconds) and what was removed, in
        the thread of the batch. Whoever keeps rows that are noted before their links must keep
        those noted within LINK_PATIENCE_SECONDS (storage.barrier) before that time: their
        links may be waiting for the end of this batch.
        """

    def others_have_removed(self) -> bool:
        """Say whether another process has removed something since the last call; quick.

        The first answer is always yes.
        """


class CollectableStore(RemovalStore, Protocol):
    """What the garbage collector needs."""

    def collecting(self) -> AbstractContextManager[None]:
        """Be the only collector of this volume.

        Raises:
            StorageBusyError: there is another one.
        """


class LinkNotes(Protocol):
    """Hears of every link, and of its data, before they are there, and is so never behind them.

    Called in the thread that writes, with removers kept away; may block for as long as a sync
    takes. What it raises (a StorageError) keeps both from being written.
    """

    def manifest(self, repository: RepositoryName, digest: Digest, content: bytes) -> None:
        """A manifest is about to be linked."""

    def tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> None:
        """A tag is about to point at ``digest``."""

    def layer(self, repository: RepositoryName, digest: Digest, size_bytes: int | None) -> None:
        """A layer or config is about to be linked; no size: its data is not there."""

    def data(self, digest: Digest, size_bytes: int) -> None:
        """Data is about to get another name, ``digest``."""


class NoNotes:
    """LinkNotes of which nobody wants to know."""

    def manifest(self, _repository: RepositoryName, _digest: Digest, _content: bytes) -> None:
        """Do nothing."""

    def tag(self, _repository: RepositoryName, _tag: Tag, _digest: Digest) -> None:
        """Do nothing."""

    def layer(self, _repository: RepositoryName, _digest: Digest, _size: int | None) -> None:
        """Do nothing."""

    def data(self, _digest: Digest, _size_bytes: int) -> None:
        """Do nothing."""


class Quarantine(Protocol):
    """Data that was found to be damaged; every method blocks."""

    def identify(self, digest: Digest) -> FileIdentity | None:
        """Say which file holds the data of ``digest`` now, whole or not; None: there is none."""

    def quarantined(self) -> list[Quarantined]:
        """List what is in quarantine, oldest first."""

    def bound_quarantine(self, *, max_bytes: int, max_age_seconds: float, now: float) -> int:
        """Remove what is too old, then the oldest until the rest fits; return bytes freed."""


class Store(BlobStore, ManifestStore, Catalog, ReferrersStore, Protocol):
    """All of it, behind one object."""

    async def check(self) -> None:
        """Prove that the store can be reached.

        Raises:
            StorageError: it cannot.
        """

    async def check_writing(self) -> None:
        """Prove that the store can be written, by writing.

        Raises:
            StorageError: it cannot.
        """
