"""Reading an image layout that somebody else may have made: nothing in it is believed.

Only names that follow from a digest are looked up, in a directory or in an archive, so nothing
in a layout can lead out of it. What is read is hashed by whoever stores it.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from roadstead.errors import ImageLayoutError, ManifestInvalidError
from roadstead.oci.digest import Digest
from roadstead.oci.imagelayout import INDEX_FILE, LAYOUT_FILE, LayoutEntry, blob_path, read_index
from roadstead.storage.base import OpenBlob
from roadstead.storage.reading import open_regular

_MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""Larger manifests are not read into memory; registries refuse them from 4 MiB on."""


class LayoutReader(Protocol):
    """A layout; blocks, and raises OSError."""

    @property
    def written_at(self) -> float:
        """When the layout was written, in seconds since the epoch."""

    def open(self, name: str) -> OpenBlob | None:
        """Open a file by its path below the layout's root; None if it is not there."""


@contextmanager
def layout_reader(path: Path) -> Iterator[LayoutReader]:
    """Open a layout: a directory, or an archive of one that is not compressed.

    Raises:
        ImageLayoutError: it is neither.
        OSError: it cannot be read.
    """
    if path.is_dir():
        reader: LayoutReader = _DirectoryReader(path)
        _require_layout(reader, path)
        yield reader
        return
    try:
        archive = tarfile.open(path, mode="r:")  # noqa: SIM115 - closed below
    except tarfile.ReadError as error:
        message = f"{path} is no tar archive; unpack what is compressed first"
        raise ImageLayoutError(message) from error
    with archive:
        reader = _ArchiveReader(archive, path)
        _require_layout(reader, path)
        yield reader


def read_entries(reader: LayoutReader) -> list[LayoutEntry]:
    """Return what the layout lists.

    Raises:
        ImageLayoutError: its index cannot be read.
    """
    try:
        return read_index(_read(reader, INDEX_FILE) or b"")
    except ManifestInvalidError as error:
        raise ImageLayoutError(str(error)) from error


def read_document(reader: LayoutReader, digest: Digest) -> bytes | None:
    """Return a manifest, hashed and found right; None if the layout lacks it.

    Raises:
        DigestMismatchError: it is damaged.
        ImageLayoutError: it is too large for a manifest.
    """
    content = _read(reader, blob_path(digest))
    if content is not None:
        digest.verify(content)
    return content


def _read(reader: LayoutReader, name: str) -> bytes | None:
    found = reader.open(name)
    if found is None:
        return None
    with found.file:
        if found.size_bytes > _MAX_DOCUMENT_BYTES:
            message = f"{name} is larger than a manifest can be"
            raise ImageLayoutError(message)
        return found.file.read(_MAX_DOCUMENT_BYTES)


def _require_layout(reader: LayoutReader, path: Path) -> None:
    found = reader.open(LAYOUT_FILE)
    if found is None:
        message = f"{path} is no OCI image layout: it has no file {LAYOUT_FILE}"
        raise ImageLayoutError(message)
    found.file.close()


class _DirectoryReader:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.written_at = root.stat().st_mtime

    def open(self, name: str) -> OpenBlob | None:
        file = open_regular(self._root / name)
        return None if file is None else OpenBlob(file, (self._root / name).stat().st_size)


class _ArchiveReader:
    def __init__(self, archive: tarfile.TarFile, path: Path) -> None:
        self._archive = archive
        # The last of two members with one name is the one that counts.
        self._members = {member.name.removeprefix("./"): member for member in archive}
        self.written_at = path.stat().st_mtime

    def open(self, name: str) -> OpenBlob | None:
        member = self._members.get(name)
        file = self._archive.extractfile(member) if member and member.isreg() else None
        if member is None or file is None:
            return None
        return OpenBlob(cast("BinaryIO", file), member.size)
