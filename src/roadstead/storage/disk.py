"""How full the file system of the store is, and what unfinished downloads take of it."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.storage.layout import Layout
from roadstead.storage.reading import AbsenceIgnored


@dataclass(frozen=True, slots=True)
class Disk:
    """Sizes in bytes; ``free_bytes`` is what this process may still write.

    ``partials`` are the sizes of all partial files, by the digest that they are to have.
    ``log_bytes`` is how large the metadata database's log is; ``block_bytes`` what the smallest
    file and the smallest directory take.
    """

    total_bytes: int
    free_bytes: int
    partials: Mapping[Digest, int]
    log_bytes: int
    block_bytes: int


def look(layout: Layout) -> Disk:
    """Look at the file system; where the root is not made yet, at the one that it will be on.

    Raises:
        OSError: it cannot be looked at.
    """
    # Before the free space: what is written between the two is missed by neither.
    partials = _partials(layout.partials)
    log_bytes = _size(layout.metadata_log)
    found = os.statvfs(_existing(layout.root))
    return Disk(
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        partials=partials,
        log_bytes=log_bytes,
        block_bytes=found.f_frsize,
    )


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _size(path: Path) -> int:
    with AbsenceIgnored():
        return path.stat().st_size
    return 0


def _partials(directory: Path) -> Mapping[Digest, int]:
    """Sum up ``<boot id>/<algorithm>/<hex>``, with the private ones behind a dot."""
    sizes: Counter[Digest] = Counter()
    # Directories may go while they are walked through, which os.walk takes for empty ones.
    for parent, _, names in os.walk(directory):
        algorithm = Path(parent).name
        for name in names:
            try:
                digest = Digest.parse(f"{algorithm}:{name.partition('.')[0]}")
            except InvalidReferenceError:
                continue
            with AbsenceIgnored():
                sizes[digest] += Path(parent, name).stat().st_size
    return sizes
