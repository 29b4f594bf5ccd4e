"""Looks at data and links, says what is wrong, and puts damaged data into quarantine.

A request that comes later finds the data missing, and fetches it. Everything blocks; belongs in a
thread.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from roadstead.errors import StorageError
from roadstead.maintenance.verification.hashing import Pace, forget_cached, matches
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import (
    BlobStore,
    Damage,
    FileIdentity,
    HeldData,
    Quarantine,
    RemovalStore,
    Walk,
)
from roadstead.storage.reading import plausible_size
from roadstead.telemetry import events

_log = logging.getLogger("roadstead.verification")


class VerifiableStore(BlobStore, RemovalStore, Quarantine, Protocol):
    """What a verification needs of a store."""

    def verifying(self) -> AbstractContextManager[None]:
        """Be the only one who verifies all of this volume in the background.

        Raises:
            StorageBusyError: there is another one, of this process or another.
        """


@dataclass(frozen=True, slots=True)
class DamagedData:
    """Data that is wrong; ``quarantined`` says whether it is out of the way."""

    digest: Digest
    damage: Damage
    size_bytes: int
    quarantined: bool


class Breach(StrEnum):
    """What is wrong with a link."""

    LINK_DAMAGED = "link damaged"
    DATA_MISSING = "data missing"
    MANIFEST_MISSING = "manifest missing"
    """A tag points at a manifest that the repository does not hold."""


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """A link that leads nowhere; ``what`` is manifest, blob or tag, ``name`` its digest or tag."""

    repository: RepositoryName
    what: str
    name: str
    breach: Breach


class Verifier:
    """Verifies one store."""

    def __init__(
        self,
        store: VerifiableStore,
        *,
        pace: Pace,
        observe: events.Observer = events.ignore,
        quarantines: bool = True,
    ) -> None:
        """``quarantines`` says whether damaged data is put away, or only told."""
        self._store = store
        self._pace = pace
        self._observe = observe
        self._quarantines = quarantines

    def check(self, held: HeldData) -> DamagedData | None:
        """Hash data; return what is wrong with it, None if it is right or gone.

        Raises:
            StoppedError: the verification is to end.
            StorageError: the store failed.
        """
        seen = self._store.identify(held.digest)
        if seen is None:
            return None
        damage = self._damage(held.digest, seen)
        if damage is None:
            self._observe(events.Verified(seen.size_bytes))
            return None
        quarantined = False
        # What cannot be read by this user, or now, may well be right: it is only told.
        if damage is not Damage.UNREADABLE and self._quarantines:
            try:
                with self._store.removing() as removal:
                    quarantined = removal.quarantine_data(held.digest, damage, seen)
            except StorageError as error:
                _log.warning("damage stays where it is", extra={"fields": {"error": str(error)}})
            else:
                if not quarantined:
                    # Replaced, or removed, while it was looked at.
                    return None
        self._observe(events.DamageFound(damage))
        return DamagedData(held.digest, damage, seen.size_bytes, quarantined)

    def links(self, wanted: Callable[[RepositoryName], bool]) -> Iterator[BrokenLink]:
        """Yield the links that lead nowhere, of the repositories that are wanted."""
        walk = self._store.walk
        for repository in walk.repositories():
            if wanted(repository):
                yield from self._links(walk, repository)
                self._pace.spend(0)

    def digests(self, wanted: Callable[[RepositoryName], bool]) -> set[Digest]:
        """Return the data that the wanted repositories link to."""
        walk = self._store.walk
        return {
            link.source
            for repository in walk.repositories()
            if wanted(repository)
            for links in (walk.revisions(repository), walk.layers(repository))
            for link in links
            if link.source is not None
        }

    def _damage(self, digest: Digest, seen: FileIdentity) -> Damage | None:
        if plausible_size(seen.size_bytes, digest) is None:
            return Damage.EMPTY
        try:
            opened = self._store.open_blob(digest)
            if opened is None:
                return None
            with opened.file as file:
                if matches(file, digest, self._pace):
                    return None
                # Once more from the disk: it may have been the memory.
                forget_cached(file)
                return None if matches(file, digest, self._pace) else Damage.CONTENT
        except (StorageError, OSError):
            return Damage.UNREADABLE

    def _links(self, walk: Walk, repository: RepositoryName) -> Iterator[BrokenLink]:
        manifests = set()
        for what, links in (
            ("manifest", walk.revisions(repository)),
            ("blob", walk.layers(repository)),
        ):
            for link in links:
                if link.source is None:
                    breach = Breach.LINK_DAMAGED
                elif self._store.identify(link.source) is None:
                    breach = Breach.DATA_MISSING
                else:
                    if what == "manifest":
                        manifests.add(link.digest)
                    continue
                yield BrokenLink(repository, what, str(link.digest), breach)
        for tag in walk.tags(repository):
            if tag.current is None:
                yield BrokenLink(repository, "tag", tag.tag, Breach.LINK_DAMAGED)
            elif tag.current not in manifests:
                yield BrokenLink(repository, "tag", tag.tag, Breach.MANIFEST_MISSING)
