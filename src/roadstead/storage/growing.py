"""Following a partial blob that another process writes.

The file tells how much has arrived, and the lock on it that its writer lives. A second file beside
it, the announcement, tells what the first cannot: that upstream sends the blob, of which size, for
which repository, and in the end that its digest is right.
"""

import fcntl
import os
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, cast

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import Announcement, GrowthEnd
from roadstead.storage.boundary import Boundary
from roadstead.storage.layout import Layout
from roadstead.storage.reading import AbsenceIgnored, read_regular

_ENDING: Final = ".announced"
_VERIFIED: Final = b"verified\n"
_UNKNOWN_SIZE: Final = "-"
# A repository's name has up to 255 bytes.
_READ_BYTES: Final = 512


def announcement_of(partial: Path) -> Path:
    """Return the path of the announcement of a partial file."""
    return partial.with_name(f"{partial.name}{_ENDING}")


def is_announcement(path: Path) -> bool:
    """Say whether this is an announcement, and not a partial file."""
    return path.name.endswith(_ENDING)


def write_announcement(
    partial: Path, file: FileIO, repository: RepositoryName, size_bytes: int | None
) -> None:
    """Announce what arrives in ``file``; a reader takes half of it for none."""
    size = _UNKNOWN_SIZE if size_bytes is None else size_bytes
    text = f"{os.fstat(file.fileno()).st_ino} {size} {repository}\n"
    with announcement_of(partial).open("wb", buffering=0) as announcement:
        announcement.write(text.encode())


def write_verified(partial: Path) -> None:
    """Announce that the digest is right."""
    with announcement_of(partial).open("ab", buffering=0) as announcement:
        announcement.write(_VERIFIED)


class FilesystemGrowingBlob:
    """A ``GrowingBlob`` of the filesystem store; see the protocol for the contract."""

    def __init__(self, digest: Digest, *, layout: Layout, boot_id: str, boundary: Boundary) -> None:
        """Open the file.

        Raises:
            FileNotFoundError: there is none.
        """
        self._path = layout.partial(boot_id, digest)
        self._data = layout.blob(digest)
        self._boundary = boundary
        self.file: BinaryIO = cast("BinaryIO", self._path.open("rb", buffering=0))

    def arrived(self) -> int:
        """Return the size of the file."""
        return os.fstat(self.file.fileno()).st_size

    def announcement(self) -> Announcement | None:
        """Return what was announced of this very file."""
        with self._boundary.step("following a partial blob", "read"):
            content = read_regular(announcement_of(self._path), limit_bytes=_READ_BYTES)
        lines = (content or b"").decode(errors="replace").splitlines(keepends=True)
        if not lines or not lines[0].endswith("\n"):
            return None
        inode, size, repository = lines[0].split()
        if int(inode) != os.fstat(self.file.fileno()).st_ino:
            return None
        return Announcement(
            repository=RepositoryName(repository),
            size_bytes=None if size == _UNKNOWN_SIZE else int(size),
            is_verified=lines[-1].encode() == _VERIFIED,
        )

    def end(self) -> GrowthEnd | None:
        """Look at the lock, then at where the file lies now."""
        with self._boundary.step("following a partial blob", "read"):
            try:
                fcntl.flock(self.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            fcntl.flock(self.file, fcntl.LOCK_UN)
            if self._is_at(self._data):
                return GrowthEnd.COMMITTED
            return GrowthEnd.FREE if self._is_at(self._path) else GrowthEnd.GONE

    def _is_at(self, path: Path) -> bool:
        with AbsenceIgnored():
            return os.path.samestat(os.fstat(self.file.fileno()), path.stat())
        return False
