"""Removing partial blobs that nobody will resume.

Only what no process holds locked is touched, so a purge is safe beside running ones, also
those of another host that shares the volume.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from roadstead.storage.growing import announcement_of, is_announcement
from roadstead.storage.partial import is_private, try_lock
from roadstead.storage.reading import AbsenceIgnored


@dataclass(frozen=True, slots=True)
class Purged:
    """How many partial blobs were removed, and their size together."""

    files: int = 0
    size_bytes: int = 0


def remove_stale(partials: Path, boot_id: str) -> Purged:
    """Remove what cannot be resumed: files of another boot, and private ones left behind.

    ``current_boot_id`` says why another boot's files are not to be trusted.
    """
    stale = [path for path in _files(partials) if is_private(path) or _boot_of(path) != boot_id]
    purged = _remove(stale)
    _remove_announcements(partials)
    for directory in partials.glob("*/"):
        if directory.name != boot_id:
            _remove_empty(directory)
    return purged


def remove_older(
    partials: Path, *, than_seconds: float, now: float, dry_run: bool = False
) -> Purged:
    """Remove what was last written more than ``than_seconds`` before ``now`` (epoch seconds).

    A dry run only says what would be removed.
    """
    old = (path for path in _files(partials) if now - _mtime(path, now) > than_seconds)
    return _remove(old, dry_run=dry_run)


def _files(partials: Path) -> list[Path]:
    """Return all partial files: ``<boot id>/<algorithm>/<hex>``."""
    found = partials.glob("*/*/*")
    return [path for path in found if path.is_file() and not is_announcement(path)]


def _remove_announcements(partials: Path) -> None:
    """Remove those of partial files that are gone."""
    for path in filter(is_announcement, partials.glob("*/*/*")):
        if not path.with_suffix("").exists():
            path.unlink(missing_ok=True)


def _boot_of(path: Path) -> str:
    return path.parent.parent.name


def _mtime(path: Path, default: float) -> float:
    with AbsenceIgnored():
        return path.stat().st_mtime
    return default


def _remove(paths: Iterable[Path], *, dry_run: bool = False) -> Purged:
    removed = (_remove_unlocked(path, dry_run=dry_run) for path in paths)
    sizes = [size for size in removed if size is not None]
    return Purged(files=len(sizes), size_bytes=sum(sizes))


def _remove_unlocked(path: Path, *, dry_run: bool) -> int | None:
    """Remove one file and return its size in bytes; None if it is in use or gone."""
    with AbsenceIgnored(), path.open("r+b", buffering=0) as file:
        if try_lock(file, path):
            size = path.stat().st_size
            if not dry_run:
                announcement_of(path).unlink(missing_ok=True)
                path.unlink()
            return size
    return None


def _remove_empty(boot: Path) -> None:
    """Remove the directories of an earlier boot, unless something is left in them."""
    for directory in (*boot.glob("*/"), boot):
        with suppress(OSError):
            directory.rmdir()
