"""A store on a disk that refuses what it is told to refuse, as the operating system would."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import HeldTag, OpenBlob, PartialBlob
from roadstead.storage.boundary import Boundary
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.events import Observer

WRITING = ("open", "reader", "write", "sync", "rename", "link", "manifest", "tag", "remove")


@dataclass
class Disk:
    """What is refused now: an error number for each step, after so many that still succeed."""

    refused: dict[str, int] = field(default_factory=dict)
    spared: dict[str, int] = field(default_factory=dict)

    def refuse(self, step: str, number: int, *, after: int = 0) -> None:
        """Refuse a step from now on, but for the first ``after`` times."""
        self.refused[step] = number
        self.spared[step] = after

    def mend(self) -> None:
        """Refuse nothing more."""
        self.refused.clear()

    def touch(self, step: str) -> None:
        """Take one step.

        Raises:
            OSError: it is refused.
        """
        number = self.refused.get(step)
        if number is None:
            return
        if self.spared[step] > 0:
            self.spared[step] -= 1
            return
        raise OSError(number, os.strerror(number))


class FailingPartialBlob:
    """A PartialBlob whose steps go through a Disk first."""

    def __init__(self, inner: PartialBlob, disk: Disk, boundary: Boundary) -> None:
        self._inner = inner
        self._disk = disk
        self._boundary = boundary

    @property
    def offset(self) -> int:
        """See PartialBlob."""
        return self._inner.offset

    def open_reader(self) -> BinaryIO:
        """See PartialBlob."""
        self._step("reader", "open")
        return self._inner.open_reader()

    def write(self, chunk: bytes) -> None:
        """See PartialBlob; half of a refused chunk is written."""
        with self._boundary.step("writing", "write"):
            try:
                self._disk.touch("write")
            except OSError:
                self._inner.write(chunk[: len(chunk) // 2])
                raise
        self._inner.write(chunk)

    def prefix_hexdigest(self) -> str:
        """See PartialBlob."""
        return self._inner.prefix_hexdigest()

    def verify(self) -> None:
        """See PartialBlob."""
        self._inner.verify()

    def sync(self) -> None:
        """See PartialBlob; a refused one discards."""
        try:
            self._step("sync", "sync")
        except Exception:
            self._inner.discard()
            raise
        self._inner.sync()

    def commit(self, repositories: frozenset[RepositoryName]) -> None:
        """See PartialBlob; where the link is refused, the data is in its place."""
        self._step("rename", "rename")
        if "link" in self._disk.refused:
            self._inner.commit(frozenset())
        self._step("link", "link")
        self._inner.commit(repositories)

    def announce(self, repository: RepositoryName, size_bytes: int | None) -> None:
        """See PartialBlob."""
        self._inner.announce(repository, size_bytes)

    def announce_verified(self) -> None:
        """See PartialBlob."""
        self._inner.announce_verified()

    def restart(self) -> None:
        """See PartialBlob."""
        self._inner.restart()

    def discard(self) -> None:
        """See PartialBlob."""
        self._step("remove", "remove")
        self._inner.discard()

    def close(self) -> None:
        """See PartialBlob."""
        self._inner.close()

    def _step(self, step: str, operation: str) -> None:
        with self._boundary.step(f"step {step}", operation):
            self._disk.touch(step)


class FailingStore(FilesystemStore):
    """A Store whose steps go through a Disk first."""

    def __init__(
        self, root: Path, disk: Disk, *, observer: Observer, boot_id: str | None = None
    ) -> None:
        super().__init__(root, observer=observer, boot_id=boot_id)
        self._disk = disk
        self._edge = Boundary(observer=observer, clock=time.perf_counter)

    def partial_blob(self, digest: Digest) -> FailingPartialBlob:  # type: ignore[override] # a PartialBlob too
        """See Store."""
        with self._edge.step("opening", "open"):
            self._disk.touch("open")
        return FailingPartialBlob(super().partial_blob(digest), self._disk, self._edge)

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        """See Store."""
        async with self._step("stat", "read"):
            return await super().stat_blob(repository, digest)

    def open_blob(self, digest: Digest) -> OpenBlob | None:
        """See Store."""
        with self._edge.step("opening a blob", "read"):
            self._disk.touch("read")
        return super().open_blob(digest)

    async def link_blob(self, repository: RepositoryName, digest: Digest) -> bool:
        """See Store."""
        async with self._step("link", "link"):
            return await super().link_blob(repository, digest)

    def scratch_file(self) -> BinaryIO:
        """See Store."""
        with self._edge.step("opening", "open"):
            self._disk.touch("scratch")
        return super().scratch_file()

    async def read_manifest(self, repository: RepositoryName, digest: Digest) -> bytes | None:
        """See Store."""
        async with self._step("read", "read"):
            return await super().read_manifest(repository, digest)

    async def write_manifest(
        self, repository: RepositoryName, digest: Digest, content: bytes
    ) -> None:
        """See Store."""
        async with self._step("manifest", "manifest"):
            await super().write_manifest(repository, digest, content)

    async def resolve_tag(self, repository: RepositoryName, tag: Tag) -> HeldTag | None:
        """See Store."""
        async with self._step("read", "read"):
            return await super().resolve_tag(repository, tag)

    async def write_tag(
        self, repository: RepositoryName, tag: Tag, digest: Digest, confirmed_at: float
    ) -> bool:
        """See Store."""
        async with self._step("tag", "tag"):
            return await super().write_tag(repository, tag, digest, confirmed_at)

    async def confirm_tag(self, repository: RepositoryName, tag: Tag, confirmed_at: float) -> None:
        """See Store."""
        async with self._step("tag", "tag"):
            await super().confirm_tag(repository, tag, confirmed_at)

    async def check_writing(self) -> None:
        """See Store; refused while any writing is."""
        for step in WRITING:
            async with self._step(step, "probe"):
                pass
        await super().check_writing()

    @asynccontextmanager
    async def _step(self, step: str, operation: str) -> AsyncIterator[None]:
        with self._edge.step(f"step {step}", operation):
            self._disk.touch(step)
        yield
