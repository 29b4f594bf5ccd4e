"""What distribution's ``scheduler-state.json`` tells about an adopted volume.

It says when each manifest was to expire: ``proxy.ttl`` after it was fetched, and never pushed back
by a pull (facts/registry.md, 2 and 3.5). So it says when each was last known to be wanted, and
that is what it is taken for here. An empty or broken file, at which distribution panics, says
nothing.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, parse_repository

_log = logging.getLogger("roadstead.retention")

DEFAULT_TTL_SECONDS: Final = 168 * 3600.0
"""distribution's, and of all versions that have no key for it."""

_MANIFEST: Final = 1
_MOST_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ScheduledExpiry:
    """A manifest that distribution would have removed at that time (epoch seconds)."""

    repository: RepositoryName
    digest: Digest
    expires_at: float


class PullSeeds(Protocol):
    """Who takes times of last pulls from elsewhere: a part of ``metadata.base.Metadata``."""

    async def seed_pull(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Take a time; an earlier one than is known is ignored."""


async def adopt_schedule(
    file: Path, seeds: PullSeeds, *, ttl_seconds: float, clock: Callable[[], float]
) -> int:
    """Take the times of ``file`` for last pulls; return how many there were.

    ``ttl_seconds`` is how long before its expiry a manifest was fetched. The file stays as it
    is, for a stock registry that takes the volume back.

    Raises:
        MetadataError: the database cannot be written.
    """
    now = clock()
    expiries = await asyncio.to_thread(lambda: list(_read(file)))
    for one in expiries:
        await seeds.seed_pull(one.repository, one.digest, min(one.expires_at - ttl_seconds, now))
    if expiries:
        fields = {"manifests": len(expiries)}
        _log.info("scheduler-state.json was taken over", extra={"fields": fields})
    return len(expiries)


def read_schedule(text: str) -> Iterator[ScheduledExpiry]:
    """Yield the manifests of a schedule; what cannot be read is left out."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        for key, entry in document.items():
            expiry = _expiry(key, entry)
            if expiry is not None:
                yield expiry


def _read(file: Path) -> Iterator[ScheduledExpiry]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return
    yield from read_schedule(text)


def _expiry(key: str, entry: Any) -> ScheduledExpiry | None:  # noqa: ANN401 - a value of JSON
    if not isinstance(entry, dict) or entry.get("EntryType") != _MANIFEST:
        return None
    repository, _, digest = key.partition("@")
    try:
        return ScheduledExpiry(
            parse_repository(repository),
            Digest.parse(digest),
            _moment(str(entry.get("ExpiryData", ""))),
        )
    except (InvalidReferenceError, ValueError, OverflowError):
        return None


def _moment(text: str) -> float:
    """Read RFC 3339 as Go writes it: with up to nine digits of a second."""
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{head}.{rest[:digits][:6]:0<6}{rest[digits:]}"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        message = "a time without a zone"
        raise ValueError(message)
    return moment.timestamp()
