"""What every store promises (roadstead.storage.base)."""

from contextlib import closing

import pytest

from roadstead.errors import DigestMismatchError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import HeldTag, Store
from tests.storage.blobs import ALPINE, LATEST, NGINX, hold_blob, read_blob

CONTENT = b"a layer, as far as a store can tell"
DIGEST = Digest.of(CONTENT)
MANIFEST = b'{"schemaVersion": 2}'
MANIFEST_DIGEST = Digest.of(MANIFEST)
OTHER = b'{"schemaVersion": 2, "annotations": {}}'
OTHER_DIGEST = Digest.of(OTHER)


async def test_a_new_store_holds_nothing(store: Store) -> None:
    """Every question to an empty store is answered with absence, not with an error."""
    assert await store.stat_blob(ALPINE, DIGEST) is None
    assert await store.stat_data(DIGEST) is None
    assert store.open_blob(DIGEST) is None
    assert await store.read_manifest(ALPINE, DIGEST) is None
    assert not await store.has_manifest(ALPINE, DIGEST)
    assert await store.resolve_tag(ALPINE, LATEST) is None
    assert await store.list_manifests(ALPINE) == []
    assert await store.list_tags(ALPINE) is None
    assert await store.list_repositories(after=None, limit=10) == []
    assert await store.read_referrers(ALPINE, DIGEST) is None
    await store.check()


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_a_committed_blob_is_read_back(store: Store, algorithm: str) -> None:
    """A blob comes back as it was written, whatever algorithm names it."""
    digest = hold_blob(store, CONTENT, ALPINE, algorithm=algorithm)

    assert await store.stat_blob(ALPINE, digest) == len(CONTENT)
    assert await store.stat_data(digest) == len(CONTENT)
    assert read_blob(store, digest) == CONTENT


async def test_a_blob_is_visible_only_through_links(store: Store) -> None:
    """Held data shows in the repositories that it was committed to, and in no other."""
    hold_blob(store, CONTENT, ALPINE)

    assert await store.stat_blob(NGINX, DIGEST) is None
    await store.link_blob(NGINX, DIGEST)
    await store.link_blob(NGINX, DIGEST)
    assert await store.stat_blob(NGINX, DIGEST) == len(CONTENT)


async def test_a_blob_can_be_committed_to_many_repositories(store: Store) -> None:
    """One transfer serves all repositories that waited for it, or none."""
    hold_blob(store, CONTENT, ALPINE, NGINX)
    assert await store.stat_blob(ALPINE, DIGEST) == len(CONTENT)
    assert await store.stat_blob(NGINX, DIGEST) == len(CONTENT)

    unlinked = hold_blob(store, b"not linked")
    assert await store.stat_data(unlinked) == len(b"not linked")
    assert await store.stat_blob(ALPINE, unlinked) is None


async def test_the_empty_blob_can_be_held(store: Store) -> None:
    """Nothing at all has a digest too, and counts as present."""
    digest = hold_blob(store, b"", ALPINE)
    assert await store.stat_blob(ALPINE, digest) == 0
    assert read_blob(store, digest) == b""


async def test_what_is_not_held_is_not_linked(store: Store) -> None:
    """A link alone would not make a blob: none is written, and the caller is told."""
    assert not await store.link_blob(ALPINE, DIGEST)
    hold_blob(store, CONTENT)
    assert await store.stat_blob(ALPINE, DIGEST) is None
    assert await store.link_blob(ALPINE, DIGEST)


async def test_a_partial_blob_is_not_visible(store: Store) -> None:
    """Nothing shows before it is committed, also when all bytes are there and right."""
    with closing(store.partial_blob(DIGEST)) as partial:
        partial.write(CONTENT)
        partial.verify()
        assert not await store.link_blob(ALPINE, DIGEST)
        assert await store.stat_data(DIGEST) is None
        assert await store.stat_blob(ALPINE, DIGEST) is None
        assert store.open_blob(DIGEST) is None


async def test_wrong_bytes_cannot_be_committed(store: Store) -> None:
    """Bytes of another digest are refused by verify and by commit, and stay invisible."""
    with closing(store.partial_blob(DIGEST)) as partial:
        partial.write(b"something else")
        with pytest.raises(DigestMismatchError, match=str(Digest.of(b"something else"))):
            partial.verify()
        with pytest.raises(DigestMismatchError):
            partial.commit(frozenset({ALPINE}))
        partial.discard()
    assert await store.stat_data(DIGEST) is None


def test_a_closed_partial_blob_is_resumed(store: Store) -> None:
    """What was written is found again, hashed, by the next attempt."""
    with closing(store.partial_blob(DIGEST)) as first:
        assert first.offset == 0
        first.write(CONTENT[:10])

    with closing(store.partial_blob(DIGEST)) as second:
        assert second.offset == 10
        assert second.prefix_hexdigest() == Digest.of(CONTENT[:10]).encoded
        second.write(CONTENT[10:])
        second.commit(frozenset({ALPINE}))
    assert read_blob(store, DIGEST) == CONTENT


def test_a_discarded_partial_blob_is_forgotten(store: Store) -> None:
    """After a discard the next attempt begins at 0; who reads keeps the bytes."""
    partial = store.partial_blob(DIGEST)
    partial.write(CONTENT[:10])
    with partial.open_reader() as reader:
        partial.discard()
        assert reader.read() == CONTENT[:10]
    partial.close()

    with closing(store.partial_blob(DIGEST)) as again:
        assert again.offset == 0


def test_a_restart_begins_anew_in_the_same_file(store: Store) -> None:
    """A restart forgets the bytes; a reader's handle goes on to see the new ones."""
    with closing(store.partial_blob(DIGEST)) as partial:
        partial.write(b"upstream changed its mind")
        with partial.open_reader() as reader:
            partial.restart()
            assert partial.offset == 0
            assert reader.read() == b""
            partial.write(CONTENT)
            reader.seek(0)
            assert reader.read() == CONTENT
        partial.commit(frozenset())
    assert read_blob(store, DIGEST) == CONTENT


def test_readers_outlive_the_commit(store: Store) -> None:
    """A reader can be opened before and after the commit, and reads to the end."""
    with closing(store.partial_blob(DIGEST)) as partial:
        partial.write(CONTENT)
        with partial.open_reader() as before:
            partial.commit(frozenset({ALPINE}))
            with partial.open_reader() as after:
                assert before.read() == CONTENT
                assert after.read() == CONTENT


def test_a_committed_blob_is_written_no_more(store: Store) -> None:
    """The handle that wrote a blob cannot change it; close and discard do not remove it."""
    partial = store.partial_blob(DIGEST)
    partial.write(CONTENT)
    partial.commit(frozenset({ALPINE}))
    with pytest.raises(ValueError, match="closed"):
        partial.write(b"more")
    partial.discard()
    partial.close()
    partial.close()
    assert read_blob(store, DIGEST) == CONTENT


def test_two_writers_of_one_blob_do_not_meet(store: Store) -> None:
    """A second attempt beside a running one has its own bytes, and either may finish."""
    with closing(store.partial_blob(DIGEST)) as first, closing(store.partial_blob(DIGEST)) as other:
        first.write(CONTENT[:5])
        assert other.offset == 0
        other.write(CONTENT)
        other.commit(frozenset({ALPINE}))
        first.write(CONTENT[5:])
        first.commit(frozenset({ALPINE}))
    assert read_blob(store, DIGEST) == CONTENT


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_a_manifest_is_read_back(store: Store, algorithm: str) -> None:
    """A manifest comes back byte for byte, in its own repository only."""
    digest = Digest.of(MANIFEST, algorithm)
    await store.write_manifest(ALPINE, digest, MANIFEST)
    await store.write_manifest(ALPINE, digest, MANIFEST)

    assert await store.read_manifest(ALPINE, digest) == MANIFEST
    assert await store.has_manifest(ALPINE, digest)
    assert await store.read_manifest(NGINX, digest) is None
    assert not await store.has_manifest(NGINX, digest)


async def test_a_manifest_is_no_blob_of_its_repository(store: Store) -> None:
    """A manifest's data is held by digest, but without a layer link it is not a blob."""
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    assert await store.stat_data(MANIFEST_DIGEST) == len(MANIFEST)
    assert await store.stat_blob(ALPINE, MANIFEST_DIGEST) is None


async def test_a_wrong_manifest_is_refused(store: Store) -> None:
    """Bytes of another digest never become a manifest."""
    with pytest.raises(DigestMismatchError):
        await store.write_manifest(ALPINE, MANIFEST_DIGEST, b"{}")
    assert not await store.has_manifest(ALPINE, MANIFEST_DIGEST)
    assert await store.stat_data(MANIFEST_DIGEST) is None


async def test_a_tag_moves(store: Store) -> None:
    """A tag points at what was written last, as confirmed then."""
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await store.write_manifest(ALPINE, OTHER_DIGEST, OTHER)
    assert await store.write_tag(ALPINE, LATEST, OTHER_DIGEST, 1000.5)
    assert await store.resolve_tag(ALPINE, LATEST) == HeldTag(OTHER_DIGEST, 1000.5)
    await store.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 2000.0)
    assert await store.resolve_tag(ALPINE, LATEST) == HeldTag(MANIFEST_DIGEST, 2000.0)
    assert await store.resolve_tag(NGINX, LATEST) is None


async def test_a_tag_never_points_at_what_is_not_held(store: Store) -> None:
    """A manifest that is not held in the repository gets no tag there, and the caller is told."""
    await store.write_manifest(NGINX, MANIFEST_DIGEST, MANIFEST)
    assert not await store.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 1000.0)
    assert await store.resolve_tag(ALPINE, LATEST) is None


async def test_a_tag_is_confirmed(store: Store) -> None:
    """Confirming changes when, not what; writing the same again does so too."""
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await store.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 1000.0)
    await store.confirm_tag(ALPINE, LATEST, 3000.25)
    assert await store.resolve_tag(ALPINE, LATEST) == HeldTag(MANIFEST_DIGEST, 3000.25)
    await store.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 4000.0)
    assert await store.resolve_tag(ALPINE, LATEST) == HeldTag(MANIFEST_DIGEST, 4000.0)


async def test_confirming_an_absent_tag_makes_none(store: Store) -> None:
    """A tag that was evicted meanwhile does not come back."""
    await store.confirm_tag(ALPINE, LATEST, 1000.0)
    assert await store.resolve_tag(ALPINE, LATEST) is None
    assert await store.list_tags(ALPINE) is None


async def test_tags_are_listed_in_byte_order(store: Store) -> None:
    """Tags are sorted as bytes: digits, capitals, underscore, small letters."""
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    for tag in ("b", "_x", "A", "1.10", "1.9", "a"):
        await store.write_tag(ALPINE, Tag(tag), MANIFEST_DIGEST, 0.0)
    assert await store.list_tags(ALPINE) == ["1.10", "1.9", "A", "_x", "a", "b"]


async def test_a_repository_without_tags_has_an_empty_list(store: Store) -> None:
    """A repository known by digest only is held: no tags, but not unknown."""
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    assert await store.list_tags(ALPINE) == []
    hold_blob(store, CONTENT, NGINX)
    assert await store.list_tags(NGINX) == []
    assert await store.list_tags(RepositoryName("library")) is None


async def test_the_catalog_pages(store: Store) -> None:
    """Pages follow each other without gap or repetition; an absent start is a place too."""
    hold_blob(store, CONTENT)
    for name in ("b", "a/b", "a-b", "a"):
        await store.link_blob(RepositoryName(name), DIGEST)
    assert await store.list_repositories(after=None, limit=2) == ["a", "a/b"]
    assert await store.list_repositories(after="a/b", limit=2) == ["a-b", "b"]
    assert await store.list_repositories(after="b", limit=2) == []
    assert await store.list_repositories(after="a/zz", limit=1) == ["a-b"]
    assert await store.list_repositories(after=None, limit=0) == []


async def test_referrers_are_kept(store: Store) -> None:
    """The last document of a subject is kept, for each repository apart."""
    await store.write_referrers(ALPINE, DIGEST, b'{"manifests": []}')
    await store.write_referrers(ALPINE, DIGEST, b'{"manifests": [{}]}')
    assert await store.read_referrers(ALPINE, DIGEST) == b'{"manifests": [{}]}'
    assert await store.read_referrers(NGINX, DIGEST) is None
    assert await store.list_repositories(after=None, limit=10) == []


async def test_manifests_are_listed_by_repository(store: Store) -> None:
    """Every linked digest of whatever algorithm, and none of a repository below."""
    below = RepositoryName(f"{ALPINE}/below")
    digests = {Digest.of(MANIFEST, algorithm) for algorithm in ("sha256", "sha512")}
    for digest in digests:
        await store.write_manifest(ALPINE, digest, MANIFEST)
    await store.write_manifest(below, Digest.of(b"{}"), b"{}")

    assert set(await store.list_manifests(ALPINE)) == digests
    assert await store.list_manifests(NGINX) == []
