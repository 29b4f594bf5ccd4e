"""What crashes have left behind: uploads, temporary files, directories without a link or data.

Only what has not been touched for a while is told, for its owner may still be at work: the
stock registry on the same volume, which takes no lock.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from os import walk
from pathlib import Path

from roadstead.storage.layout import Layout
from roadstead.storage.reading import AbsenceIgnored

UPLOADS = "_uploads"


def find_leftovers(layout: Layout, *, before: float) -> Iterator[Path]:
    """Yield uploads, temporary files and bare directories last changed before that time.

    ``before`` is in seconds since the epoch.

    Raises:
        OSError: a directory cannot be read.
    """
    for root in (layout.repositories, layout.blobs, layout.own / "referrers"):
        yield from _below(root, before)


def remove_leftover(path: Path) -> int:
    """Remove what ``find_leftovers`` has found; return how many bytes that has freed.

    Raises:
        OSError: it cannot be removed.
    """
    freed = 0
    with AbsenceIgnored():
        if path.parent.name == UPLOADS:
            freed = sum(_size(one) for one in path.rglob("*"))
            shutil.rmtree(path)
        elif path.is_dir():
            # It was bare; what it has now is being written.
            with suppress(OSError):
                path.rmdir()
        else:
            freed = _size(path)
            path.unlink()
    return freed


def _below(root: Path, before: float) -> Iterator[Path]:
    for folder, directories, files in walk(root, onerror=_raise):
        # Of millions of directories nearly none is of interest, so none becomes a Path at once.
        if not directories and not files and folder != str(root):
            if _mtime(Path(folder)) < before:
                yield Path(folder)
        elif folder.endswith(f"/{UPLOADS}"):
            uploads = [Path(folder, name) for name in directories]
            yield from (upload for upload in uploads if _newest(upload) < before)
            directories.clear()
        else:
            found = [Path(folder, name) for name in files if name.endswith(".tmp")]
            yield from (path for path in found if _mtime(path) < before)


def _newest(upload: Path) -> float:
    return max(map(_mtime, (upload, *upload.rglob("*"))))


def _mtime(path: Path) -> float:
    with AbsenceIgnored():
        return path.lstat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        found = path.lstat()
        return found.st_size if path.is_file() else 0
    return 0


def _raise(error: OSError) -> None:
    with AbsenceIgnored():
        raise error
