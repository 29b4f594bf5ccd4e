"""Writing an image layout: a directory or a tar archive that is there whole, or not at all.

Everything is hashed on its way out: whoever carries images to a machine without a network does
not want to learn there that one of them was damaged. Blocks; belongs in a thread.
"""

import errno
import io
import os
import shutil
import tarfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

from roadstead.errors import DigestMismatchError, ImageLayoutError
from roadstead.oci.digest import Digest
from roadstead.oci.imagelayout import (
    INDEX_FILE,
    LAYOUT_DOCUMENT,
    LAYOUT_FILE,
    LayoutEntry,
    blob_path,
    write_index,
)
from roadstead.storage.base import OpenBlob
from roadstead.storage.durability import sync_directory

Report = Callable[[int], None]
"""Is told of bytes that were done."""

_CHUNK_BYTES = 4 * 1024 * 1024
# What the kernel says where it cannot copy between two files or link one.
_NO_SHORT_CUT = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class LayoutWriter(Protocol):
    """A layout that is being written; raises OSError."""

    @abstractmethod
    def add(self, digest: Digest, blob: OpenBlob, report: Report) -> None:
        """Copy a blob from its beginning.

        Raises:
            DigestMismatchError: it is damaged.
        """

    def add_manifest(self, digest: Digest, content: bytes, report: Report) -> None:
        """Write a manifest."""
        self.add(digest, OpenBlob(io.BytesIO(content), len(content)), report)

    @abstractmethod
    def finish(self, entries: Sequence[LayoutEntry]) -> None:
        """Write what says that this is a layout, and what is in it."""


@contextmanager
def layout_writer(target: Path, *, hard_links: bool = False) -> Iterator[LayoutWriter]:
    """Write a layout to ``target``: an archive if that ends in ``.tar``, else a directory.

    Nothing is at ``target`` before the block has ended well. ``hard_links`` lets a directory
    share the files of the store, where it is on the same file system.

    Raises:
        ImageLayoutError: something is there already.
        OSError: it cannot be written.
    """
    is_archive = target.suffix == ".tar"
    if target.exists() and (is_archive or not target.is_dir() or any(target.iterdir())):
        message = f"{target} is there already; name another place, or remove it"
        raise ImageLayoutError(message)
    temporary = target.with_name(f"{target.name}.{uuid4()}.tmp")
    try:
        if is_archive:
            yield from _archive(temporary)
        else:
            temporary.mkdir()
            yield _DirectoryWriter(temporary, hard_links=hard_links)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink() if is_archive else shutil.rmtree(temporary)
        raise
    sync_directory(target.absolute().parent)


class _DirectoryWriter(LayoutWriter):
    def __init__(self, root: Path, *, hard_links: bool) -> None:
        self._root = root
        self._hard_links = hard_links
        self._directories = {root}

    def add(self, digest: Digest, blob: OpenBlob, report: Report) -> None:
        """Copy a blob, by reflink where the file system has them, or link it."""
        path = self._path(blob_path(digest))
        if not (self._hard_links and _link(blob.file, path)):
            with path.open("xb", buffering=0) as file:
                _copy(blob, file)
                os.fsync(file.fileno())
        # Hashed as it was written: the pages are in memory.
        with path.open("rb", buffering=0) as file:
            _check(digest, file, report)

    def finish(self, entries: Sequence[LayoutEntry]) -> None:
        """Write the two documents and sync every directory."""
        for name, content in _documents(entries):
            with self._path(name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for directory in self._directories:
            sync_directory(directory)

    def _path(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._directories |= (
            {path.parent, path.parent.parent} if path.parent != self._root else set()
        )
        return path


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    with path.open("xb") as file:
        with tarfile.TarFile(fileobj=file, mode="w", copybufsize=_CHUNK_BYTES) as tar:
            yield tar
        file.flush()
        os.fsync(file.fileno())


def _archive(path: Path) -> Iterator[LayoutWriter]:
    with _opened(path) as tar:
        yield _ArchiveWriter(tar)


class _ArchiveWriter(LayoutWriter):
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._directories: set[str] = set()

    def add(self, digest: Digest, blob: OpenBlob, report: Report) -> None:
        """Copy a blob into the archive, hashing it on the way."""
        entry = self._entry(blob_path(digest), blob.size_bytes)
        source = _HashingReader(blob.file, digest, report)
        try:
            self._tar.addfile(entry, source)  # type: ignore[arg-type] # it calls read, and no more
        except OSError as error:
            if source.is_short(blob.size_bytes):
                raise DigestMismatchError(str(digest), "fewer bytes than its size") from error
            raise
        source.verify()

    def finish(self, entries: Sequence[LayoutEntry]) -> None:
        """Write the two documents."""
        for name, content in _documents(entries):
            self._tar.addfile(self._entry(name, len(content)), io.BytesIO(content))

    def _entry(self, name: str, size_bytes: int) -> tarfile.TarInfo:
        for parent in reversed(Path(name).parents[:-1]):
            self._add_directory(str(parent))
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size_bytes, 0o644
        return entry

    def _add_directory(self, name: str) -> None:
        if name not in self._directories:
            self._directories.add(name)
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            self._tar.addfile(entry)


class _HashingReader:
    """Hashes what is read through it."""

    def __init__(self, file: BinaryIO, digest: Digest, report: Report) -> None:
        self._file = file
        self._digest = digest
        self._report = report
        self._hash = digest.hasher()
        self._count = 0

    def read(self, count: int) -> bytes:
        """Read up to ``count`` bytes."""
        chunk = self._file.read(count)
        self._hash.update(chunk)
        self._count += len(chunk)
        self._report(len(chunk))
        return chunk

    def is_short(self, size_bytes: int) -> bool:
        """Say whether fewer bytes were there than expected."""
        return self._count < size_bytes

    def verify(self) -> None:
        """Compare the hash of all that was read with the digest."""
        _compare(self._digest, self._hash.hexdigest())


def _documents(entries: Sequence[LayoutEntry]) -> list[tuple[str, bytes]]:
    return [(LAYOUT_FILE, LAYOUT_DOCUMENT), (INDEX_FILE, write_index(entries))]


def _link(file: BinaryIO, path: Path) -> bool:
    """Make ``path`` another name of an open file; False where that cannot be."""
    try:
        descriptors = os.open("/proc/self/fd", os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Without a directory's descriptor Python calls link(2), which follows no symlink.
            os.link(str(file.fileno()), path, src_dir_fd=descriptors)
        finally:
            os.close(descriptors)
    except (io.UnsupportedOperation, OSError):
        # A manifest from memory, another file system, or one without hard links.
        return False
    return True


def _copy(blob: OpenBlob, target: BinaryIO) -> None:
    try:
        source = blob.file.fileno()
        while os.copy_file_range(source, target.fileno(), 1 << 30):
            pass
    except io.UnsupportedOperation:
        shutil.copyfileobj(blob.file, target, _CHUNK_BYTES)
    except OSError as error:
        if error.errno not in _NO_SHORT_CUT:
            raise
        shutil.copyfileobj(blob.file, target, _CHUNK_BYTES)


def _check(digest: Digest, file: BinaryIO, report: Report) -> None:
    hasher = digest.hasher()
    while chunk := file.read(_CHUNK_BYTES):
        hasher.update(chunk)
        report(len(chunk))
    _compare(digest, hasher.hexdigest())


def _compare(digest: Digest, actual: str) -> None:
    if actual != digest.encoded:
        raise DigestMismatchError(str(digest), f"{digest.algorithm}:{actual}")
