"""Damaged data, kept for a while where nobody is served from, so that it can be looked at.

The name of a file says everything: ``<hex>.<damage>.<seconds since the epoch>``.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.storage.base import Damage, FileIdentity, Quarantined
from roadstead.storage.durability import make_directories, sync_directory
from roadstead.storage.layout import Layout
from roadstead.storage.reading import AbsenceIgnored


def identify(path: Path) -> FileIdentity | None:
    """Say which regular file is at ``path``; None if there is none."""
    with AbsenceIgnored():
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            return identity(found)
    return None


def identity(found: os.stat_result) -> FileIdentity:
    """Take from a file's status what tells it from others."""
    return FileIdentity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def put_away(layout: Layout, digest: Digest, damage: Damage, now: float) -> None:
    """Move data into quarantine; only while the lock on links is held alone."""
    directory = layout.quarantine / digest.algorithm
    make_directories(directory)
    source = layout.blob(digest)
    source.replace(directory / f"{digest.encoded}.{damage}.{now:.0f}")
    sync_directory(directory)
    sync_directory(source.parent)


def list_quarantined(layout: Layout) -> list[Quarantined]:
    """List what is in quarantine, oldest first; other files there are passed over."""
    return sorted(_files(layout), key=lambda one: (one.since, one.path))


def bound(layout: Layout, *, max_bytes: int, max_age_seconds: float, now: float) -> int:
    """Remove what is too old, then the oldest until the rest fits; return bytes freed."""
    found = list_quarantined(layout)
    total = sum(one.size_bytes for one in found)
    freed = 0
    for one in found:
        if now - one.since <= max_age_seconds and total - freed <= max_bytes:
            break
        Path(one.path).unlink(missing_ok=True)
        freed += one.size_bytes
    return freed


def _files(layout: Layout) -> Iterator[Quarantined]:
    for path in layout.quarantine.glob("*/*"):
        encoded, _, rest = path.name.partition(".")
        damage, _, since = rest.partition(".")
        with AbsenceIgnored():
            try:
                digest = Digest.parse(f"{path.parent.name}:{encoded}")
                kind, at = Damage(damage), float(since)
            except (InvalidReferenceError, ValueError):
                continue
            yield Quarantined(digest, kind, path.stat().st_size, at, str(path))
