"""What is wrong is found, named and put away; what is right is left alone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from roadstead.errors import StorageUnavailableError
from roadstead.maintenance.verification.hashing import Pace
from roadstead.maintenance.verification.verifier import (
    Breach,
    BrokenLink,
    DamagedData,
    Verifier,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from roadstead.storage.base import Damage, HeldData, OpenBlob
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.telemetry import events
from roadstead.telemetry.events import Event
from tests.storage.blobs import ALPINE, LATEST, NGINX, hold_blob
from tests.support.volumes import files_below, put

LAYER, OTHER = b"a layer" * 100, b"another layer"
MANIFEST = b'{"schemaVersion": 2}'
MANIFEST_DIGEST = Digest.of(MANIFEST)


@pytest.fixture
async def store(tmp_path: Path) -> FilesystemStore:
    """Give a store with two repositories, a tag, and a layer that both have."""
    store = FilesystemStore(tmp_path, boot_id="boot")
    hold_blob(store, LAYER, ALPINE, NGINX)
    hold_blob(store, OTHER, ALPINE)
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await store.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 0.0)
    return store


def damaged(store: FilesystemStore, *, observed: list[Event] | None = None) -> list[DamagedData]:
    """Verify all data."""
    observe = observed.append if observed is not None else events.ignore
    verifier = Verifier(store, pace=Pace(), observe=observe)
    return [found for held in store.walk.data() if (found := verifier.check(held)) is not None]


def broken(store: FilesystemStore) -> set[BrokenLink]:
    """Look at all links."""
    return set(Verifier(store, pace=Pace()).links(lambda _repository: True))


def test_a_whole_store_is_well(store: FilesystemStore, tmp_path: Path) -> None:
    """Everything is hashed once, and nothing is touched."""
    before = files_below(tmp_path)
    observed: list[Event] = []

    assert damaged(store, observed=observed) == []
    assert broken(store) == set()

    assert files_below(tmp_path) == before
    sizes = sorted(event.size_bytes for event in observed if isinstance(event, events.Verified))
    assert sizes == sorted(map(len, (LAYER, OTHER, MANIFEST)))


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        (b"A" + LAYER[1:], Damage.CONTENT),
        (LAYER[:-1], Damage.CONTENT),
        (LAYER + b"x", Damage.CONTENT),
        (b"", Damage.EMPTY),
    ],
)
def test_wrong_bytes_are_put_away_and_links_to_them_named(
    store: FilesystemStore, tmp_path: Path, content: bytes, damage: Damage
) -> None:
    """Turned, cut, grown or emptied; other data is left alone."""
    digest = Digest.of(LAYER)
    put(Layout(tmp_path).blob(digest), content)
    observed: list[Event] = []

    assert damaged(store, observed=observed) == [
        DamagedData(digest, damage, len(content), quarantined=True)
    ]

    assert [one.digest for one in store.quarantined()] == [digest]
    assert events.DamageFound(damage) in observed
    assert broken(store) == {
        BrokenLink(repository, "blob", str(digest), Breach.DATA_MISSING)
        for repository in (ALPINE, NGINX)
    }
    assert damaged(store) == []


def test_a_look_changes_nothing(store: FilesystemStore, tmp_path: Path) -> None:
    """Without quarantine the damage is told and stays."""
    digest = Digest.of(LAYER)
    put(Layout(tmp_path).blob(digest), b"wrong")
    before = files_below(tmp_path)
    verifier = Verifier(store, pace=Pace(), quarantines=False)

    found = [one for held in store.walk.data() if (one := verifier.check(held)) is not None]

    assert found == [DamagedData(digest, Damage.CONTENT, 5, quarantined=False)]
    assert files_below(tmp_path) == before


class _Unreadable(FilesystemStore):
    """A store that this user may not read."""

    def open_blob(self, digest: Digest) -> OpenBlob | None:
        message = f"permission denied: {digest}"
        raise StorageUnavailableError(message)


def test_what_cannot_be_read_is_told_and_not_touched(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """It may be right, and only this user may not see it."""
    digest = Digest.of(LAYER)
    held = HeldData(digest, len(LAYER), 0.0)
    verifier = Verifier(_Unreadable(tmp_path, boot_id="boot"), pace=Pace())

    found = verifier.check(held)

    assert found == DamagedData(digest, Damage.UNREADABLE, len(LAYER), quarantined=False)
    assert store.quarantined() == []


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (
            lambda layout: _cut(layout.layer_link(ALPINE, Digest.of(OTHER))),
            BrokenLink(ALPINE, "blob", str(Digest.of(OTHER)), Breach.LINK_DAMAGED),
        ),
        (
            lambda layout: layout.layer_link(ALPINE, Digest.of(OTHER)).unlink(),
            BrokenLink(ALPINE, "blob", str(Digest.of(OTHER)), Breach.LINK_DAMAGED),
        ),
        (
            lambda layout: layout.blob(Digest.of(OTHER)).unlink(),
            BrokenLink(ALPINE, "blob", str(Digest.of(OTHER)), Breach.DATA_MISSING),
        ),
        (
            lambda layout: _cut(layout.tag_current_link(ALPINE, LATEST)),
            BrokenLink(ALPINE, "tag", LATEST, Breach.LINK_DAMAGED),
        ),
        (
            lambda layout: shutil.rmtree(layout.revisions(ALPINE)),
            BrokenLink(ALPINE, "tag", LATEST, Breach.MANIFEST_MISSING),
        ),
    ],
)
def test_links_that_lead_nowhere_are_named(
    store: FilesystemStore,
    tmp_path: Path,
    harm: Callable[[Layout], None],
    expected: BrokenLink,
) -> None:
    """What kind, where, and what is wrong with it."""
    harm(Layout(tmp_path))

    assert broken(store) == {expected}


async def test_a_missing_manifest_is_missing_for_its_tag_too(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """Both the revision and the tag lead nowhere."""
    Layout(tmp_path).blob(MANIFEST_DIGEST).unlink()

    assert broken(store) == {
        BrokenLink(ALPINE, "manifest", str(MANIFEST_DIGEST), Breach.DATA_MISSING),
        BrokenLink(ALPINE, "tag", Tag("latest"), Breach.MANIFEST_MISSING),
    }


def test_some_repositories_can_be_verified_alone(store: FilesystemStore, tmp_path: Path) -> None:
    """Only what they link to is looked at."""
    verifier = Verifier(store, pace=Pace())
    Layout(tmp_path).blob(Digest.of(OTHER)).unlink()

    assert verifier.digests(lambda repository: repository == NGINX) == {Digest.of(LAYER)}
    assert list(verifier.links(lambda repository: repository == NGINX)) == []
