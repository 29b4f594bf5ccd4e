"""What garbage collection keeps, what it removes and what it says."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from roadstead.errors import StorageBusyError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.filesystem import FilesystemStore
from tests.maintenance.volume import APP, JUST_NOW, LONG_AGO, Volume, descriptor, digests, lines
from tests.support.volumes import put

OTHER = RepositoryName("other/app")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Give an empty volume."""
    return Volume(tmp_path / "volume")


@pytest.mark.parametrize("delete_untagged", [False, True])
def test_an_empty_volume_has_no_garbage(volume: Volume, *, delete_untagged: bool) -> None:
    """Neither one that does not exist, where the stock registry fails, nor a bare one."""
    assert volume.collect(dry_run=True).marked == 0
    assert not volume.root.exists()
    volume.collect(delete_untagged=delete_untagged)
    assert volume.said == ["", "0 blobs marked, 0 blobs and 0 manifests eligible for deletion"]


@pytest.mark.parametrize("delete_untagged", [False, True])
def test_what_is_tagged_stays_whole(volume: Volume, *, delete_untagged: bool) -> None:
    """An image, an index of indexes and what refers to it are left as they are."""
    child, grandchild = volume.image("a", "b"), volume.image("b", "c")
    index = volume.index([child, volume.index([grandchild])])
    volume.image("signature", subject=grandchild)
    volume.tag("latest", index)
    volume.tag("plain", volume.image("d"))
    before = volume.files()
    found = volume.collect(delete_untagged=delete_untagged)
    assert volume.files() == before
    assert (found.blobs, found.manifests, found.swept.freed_bytes) == (0, 0, 0)


@pytest.mark.parametrize("delete_untagged", [False, True])
def test_what_was_pulled_by_digest_stays(volume: Volume, *, delete_untagged: bool) -> None:
    """A repository without any tag, and a manifest that never had one, keep all they need."""
    volume.image("a", name=OTHER)
    volume.tag("latest", volume.image("b"))
    volume.index([volume.image("c")])
    before = volume.files()
    volume.collect(delete_untagged=delete_untagged)
    assert volume.files() == before


def test_what_a_tag_has_left_stays_without_the_flag(volume: Volume) -> None:
    """As in distribution: every manifest that is linked is needed."""
    volume.tag("latest", volume.image("old"), volume.image("new"))
    before = volume.files()
    volume.collect()
    assert volume.files() == before


def test_what_a_tag_has_left_goes_with_the_flag(volume: Volume) -> None:
    """A superseded index goes with its children and referrers, and with layers it alone needs."""
    old_child = volume.image("old", "shared")
    old = volume.index([old_child], note="old")
    signature = volume.image("signature", subject=old)
    new_child = volume.image("new", "shared")
    new = volume.index([new_child])
    volume.tag("latest", old, new)
    volume.tag("1.0", old, new)

    found = volume.collect(delete_untagged=True)

    assert volume.revisions() == {new, new_child}
    assert volume.layers() == digests("new", "shared")
    assert volume.data() == {new, new_child} | digests("new", "shared")
    assert [tag.history for tag in volume.store.walk.tags(APP)] == [{new}] * 2
    assert found.swept.manifests == 3
    assert found.swept.blobs == 5
    assert lines(volume.said, "manifest eligible") == [
        f"manifest eligible for deletion: {{{APP} {digest} [{tags}]}}"
        for digest, tags in sorted(
            [(old, "1.0 latest"), (old_child, ""), (signature, "")], key=lambda pair: str(pair[0])
        )
    ]


def test_a_superseded_manifest_that_is_needed_stays(volume: Volume) -> None:
    """Another tag, an index that stays or youth keep what a tag has left."""
    tagged, contained, young, new = (
        volume.image("tagged"),
        volume.image("contained"),
        volume.image("young", at=JUST_NOW),
        volume.image("new"),
    )
    index = volume.index([contained])
    volume.tag("latest", tagged, contained, young, new)
    volume.tag("stable", tagged)
    volume.collect(delete_untagged=True)
    assert volume.revisions() == {tagged, contained, young, new, index}


def test_an_untagged_manifest_is_superseded(volume: Volume) -> None:
    """Deleting a tag makes its image garbage, as with distribution."""
    image = volume.image("a")
    volume.tag("latest", image)
    with volume.store.removing() as removal:
        tag = next(volume.store.walk.tags(APP)).tag
        assert removal.untag(APP, tag)
        assert not removal.untag(APP, tag)
    volume.collect(delete_untagged=True)
    assert volume.files() == set()


def test_orphans_go(volume: Volume) -> None:
    """Data without a link, and layers that no manifest of their repository needs, go."""
    kept = volume.image("a")
    volume.blob("orphan")
    volume.blob("loose", APP)
    volume.blob("a", OTHER)
    found = volume.collect()
    assert volume.data() == {kept} | digests("a")
    assert volume.layers() == digests("a")
    assert list(volume.store.walk.repositories()) == [APP]
    assert found.swept.freed_bytes == len("orphan") + len("loose")


def test_a_layer_that_was_just_linked_stays(volume: Volume) -> None:
    """Its manifest may be on its way: a client that has it asks for blobs first."""
    volume.blob("arriving", APP, at=JUST_NOW)
    before = volume.files()
    volume.collect()
    assert volume.files() == before


def test_damage_is_tidied_away(volume: Volume) -> None:
    """Links that are empty or lead nowhere go once they are old, with what lies behind them."""
    image = volume.image("a", "b")
    gone = volume.image("c")
    volume.tag("latest", image)
    layout = volume.layout
    layout.blob(gone).unlink()
    empty = Digest.of(b"empty")
    for path in (
        layout.layer_link(APP, empty),
        layout.revision_link(APP, empty),
        layout.tags(APP) / "broken/current/link",
    ):
        os.utime(put(path, b""), (LONG_AGO, LONG_AGO))
    fresh = put(layout.layer_link(OTHER, empty), b"")
    os.utime(fresh, (JUST_NOW, JUST_NOW))

    volume.collect()

    assert volume.revisions() == {image}
    assert [tag.tag for tag in volume.store.walk.tags(APP)] == ["latest"]
    assert volume.layers() == digests("a", "b")
    assert volume.data() == {image} | digests("a", "b")
    assert fresh.exists()


def test_an_unreadable_manifest_keeps_its_repository(volume: Volume) -> None:
    """What a damaged manifest needs is unknown, so all layers of its repository stay."""
    image = volume.image("a")
    put(volume.layout.blob(image), b'{"schemaVersion": 2, "cut')
    volume.blob("loose", APP)
    before = volume.files()
    volume.collect(delete_untagged=True)
    assert volume.files() == before


def test_a_repository_that_cannot_be_read_keeps_all_blobs(volume: Volume) -> None:
    """A fault is not absence: nobody knows what is needed, so no data goes."""
    volume.blob("orphan")
    volume.layout.revisions(OTHER).mkdir(parents=True)
    # A name that is too long: the one fault that root meets on every file system.
    (volume.layout.revisions(OTHER) / "sha256").symlink_to("x" * 256)
    found = volume.collect()
    assert (found.unreadable, found.blobs) == (1, 0)
    assert volume.data() == digests("orphan")
    assert f"{OTHER}: cannot be read, so no blob is removed: File name too long" in volume.said


def test_a_dry_run_changes_nothing(volume: Volume) -> None:
    """It says what would go, in the same words, and leaves no trace, not even a lock."""
    volume.blob("orphan")
    volume.tag("latest", volume.image("old"), volume.image("new"))
    own = sorted(path.name for path in volume.layout.own.rglob("*"))
    before = volume.files()
    dry = volume.collect(dry_run=True, delete_untagged=True)
    said = list(volume.said)
    assert volume.files() == before
    assert sorted(path.name for path in volume.layout.own.rglob("*")) == own
    assert dry.swept.blobs == 0
    wet = volume.collect(delete_untagged=True)
    assert volume.said == said
    assert (wet.blobs, wet.manifests) == (dry.blobs, dry.manifests) == (3, 1)
    volume.collect(delete_untagged=True)
    assert lines(volume.said, "2 blobs marked, 0 blobs and 0 manifests")


def test_the_lines_are_distributions(volume: Volume) -> None:
    """Repository, marks, summary and what is eligible, in distribution's words and order."""
    image = volume.image("a")
    volume.tag("latest", image)
    orphan = volume.blob("orphan", APP)
    (layer,) = digests("a")
    volume.collect()
    assert volume.said == [
        APP,
        f"{APP}: marking manifest {image} ",
        f"{APP}: marking blob {layer}",
        "",
        "2 blobs marked, 1 blobs and 0 manifests eligible for deletion",
        f"blob eligible for deletion: {orphan}",
        f"{APP}: layer link eligible for deletion: {orphan}",
    ]


def test_leftovers_go(volume: Volume) -> None:
    """Uploads, temporary files and bare directories of long ago go; recent ones stay."""
    image = volume.image("a")
    layout = volume.layout
    uploads = layout.repository(APP) / "_uploads"
    old = [
        put(uploads / "old/data", b"part"),
        put(uploads / "old/startedat", b"then"),
        put(layout.blob(image).with_name("data.1.tmp"), b"12345"),
        put(layout.revision_link(OTHER, image).with_name("link.1.tmp"), b"1"),
    ]
    new = [put(uploads / "new/data", b""), put(layout.tags(APP) / "x/current/link.2.tmp", b"")]
    bare = layout.blobs / "sha256/ab/" / ("ab" * 32)
    bare.mkdir(parents=True)
    for path in (*old, *(one.parent for one in old), bare):
        os.utime(path, (LONG_AGO, LONG_AGO))
    for path in (*new, *(one.parent for one in new)):
        os.utime(path, (JUST_NOW, JUST_NOW))

    found = volume.collect()

    assert not any(path.exists() for path in (*old, bare))
    assert all(path.exists() for path in new)
    assert not layout.repository(OTHER).exists()
    assert found.swept.leftovers == 4
    assert found.swept.freed_bytes == 4 + 4 + 5 + 1


def test_a_bare_directory_that_is_filled_stays(volume: Volume) -> None:
    """What was bare when it was found and is not any more is somebody's."""
    volume.image("a")
    bare = volume.layout.layers(OTHER)
    bare.mkdir(parents=True)
    relative = str(bare.relative_to(volume.root))
    kept = put(volume.layout.layer_link(OTHER, Digest.of(b"a")), b"x")
    with volume.store.removing() as removal:
        assert removal.remove_leftover(relative) == 0
    assert kept.exists()


def test_content_under_two_algorithms_stays(volume: Volume) -> None:
    """A link of one algorithm to data of another keeps the data, until nobody needs it."""
    sha512 = Digest.of(b"a", "sha512")
    image = volume.manifest({"schemaVersion": 2, "layers": [], "config": {"digest": str(sha512)}})
    volume.blob("a")
    link = put(volume.layout.layer_link(APP, sha512), str(Digest.of(b"a")).encode())
    os.utime(link, (LONG_AGO, LONG_AGO))
    volume.collect()
    assert volume.data() == {image} | digests("a")
    with volume.store.removing() as removal:
        removal.remove_manifest(APP, image)
    volume.collect()
    assert volume.files() == set()


def test_a_full_disk_can_be_tidied_up(small_volume: Path) -> None:
    """A collection needs no room on the volume: that is what it is to make."""
    volume = Volume(small_volume)
    volume.blob("orphan" * 5000)
    # The store's first write makes what collections need.
    kept = b"{}"
    asyncio.run(volume.store.write_manifest(APP, Digest.of(kept), kept))
    with pytest.raises(OSError, match="No space left"):
        (small_volume / "ballast").write_bytes(bytes(300_000))
    found = volume.collect()
    assert found.swept.freed_bytes == 30_000
    assert volume.data() == {Digest.of(kept)}


def test_only_one_collection_runs(volume: Volume) -> None:
    """A second one says so and ends; looking is allowed."""
    volume.blob("orphan")
    with FilesystemStore(volume.root).collecting():
        with pytest.raises(StorageBusyError, match="another process is doing this"):
            volume.collect()
        assert volume.collect(dry_run=True).blobs == 1
    assert volume.collect().swept.blobs == 1


def test_what_is_linked_meanwhile_is_spared(volume: Volume) -> None:
    """A manifest that arrives during a collection keeps its layers, its children and theirs."""
    old_child = volume.image("old")
    old = volume.index([old_child])
    new = volume.image("new")
    volume.tag("latest", old, new)
    loose = volume.blob("loose", APP)
    orphan = volume.blob("orphan")
    volume.blob("garbage")
    index = json.dumps({"schemaVersion": 2, "manifests": [descriptor(old_child)]}).encode()
    image = json.dumps({"schemaVersion": 2, "layers": [], "config": descriptor(loose)}).encode()
    late: list[Digest] = []

    def say(line: str) -> None:
        if "eligible for deletion" in line and not late:
            for content in (index, image):
                late.append(Digest.of(content))
                asyncio.run(volume.store.write_manifest(APP, late[-1], content))
            assert asyncio.run(volume.store.link_blob(OTHER, orphan))

    volume.said = _Interrupted(say)
    found = volume.collect(delete_untagged=True)

    assert volume.revisions() == {new, old_child, *late}
    assert {loose, *digests("old", "new")} <= volume.layers()
    assert orphan in volume.data()
    assert Digest.of(b"garbage") not in volume.data()
    assert found.swept.spared > 0


class _Interrupted(list[str]):
    """Lines, each of which gives somebody else a turn."""

    def __init__(self, turn: Callable[[str], None]) -> None:
        super().__init__()
        self._turn = turn

    def append(self, line: str) -> None:
        super().append(line)
        self._turn(line)
