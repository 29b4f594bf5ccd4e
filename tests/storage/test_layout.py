"""Paths: exact, distinct, inside the root."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.layout import Layout
from tests.support.strategies import digests, repositories, tags

LAYOUT = Layout(Path("volume"))
ALPINE = RepositoryName("library/alpine")
DIGEST = Digest.of(b"")
HEX = DIGEST.encoded
V2 = "volume/docker/registry/v2"


def test_paths_are_those_of_distribution() -> None:
    """The paths that both programs use are as in facts/registry.md, section 2."""
    repository = f"{V2}/repositories/library/alpine"
    tag = f"{repository}/_manifests/tags/3.20"
    assert str(LAYOUT.blob(DIGEST)) == f"{V2}/blobs/sha256/e3/{HEX}/data"
    assert str(LAYOUT.layer_link(ALPINE, DIGEST)) == f"{repository}/_layers/sha256/{HEX}/link"
    assert str(LAYOUT.revision_link(ALPINE, DIGEST)) == (
        f"{repository}/_manifests/revisions/sha256/{HEX}/link"
    )
    assert str(LAYOUT.tag_current_link(ALPINE, Tag("3.20"))) == f"{tag}/current/link"
    assert str(LAYOUT.tag_index_link(ALPINE, Tag("3.20"), DIGEST)) == (
        f"{tag}/index/sha256/{HEX}/link"
    )


def test_our_own_paths_are_apart() -> None:
    """What the stock registry does not know lies where it never looks."""
    assert str(LAYOUT.partial("boot", DIGEST)) == f"volume/roadstead/partial/boot/sha256/{HEX}"
    assert str(LAYOUT.referrers(ALPINE, DIGEST)) == (
        f"volume/roadstead/referrers/library/alpine/_subjects/sha256/{HEX}.json"
    )


_Arguments = tuple[RepositoryName, Tag, Digest]


def _paths(arguments: _Arguments) -> dict[Path, tuple[object, ...]]:
    """Map each path that the arguments give to what it is for."""
    repository, tag, digest = arguments
    return {
        LAYOUT.blob(digest): ("blob", digest),
        LAYOUT.layer_link(repository, digest): ("layer", repository, digest),
        LAYOUT.revision_link(repository, digest): ("revision", repository, digest),
        LAYOUT.tag_current_link(repository, tag): ("current", repository, tag),
        LAYOUT.tag_index_link(repository, tag, digest): ("index", repository, tag, digest),
        LAYOUT.partial("boot", digest): ("partial", digest),
        LAYOUT.referrers(repository, digest): ("referrers", repository, digest),
    }


# Names that repeat, lie in each other or look like parts of the layout, to meet collisions.
_arguments = st.tuples(
    repositories() | st.sampled_from(["a", "a/b", "a/tags", "a/tags/b"]).map(RepositoryName),
    tags() | st.sampled_from(["index", "current", "link", "_layers", "_manifests"]).map(Tag),
    digests() | st.sampled_from(["sha256", "sha512"]).map(lambda name: Digest.of(b"", name)),
)


@given(_arguments, _arguments)
def test_distinct_things_have_distinct_paths(one: _Arguments, other: _Arguments) -> None:
    """Two paths are equal, or one inside the other, only if they are for the same thing."""
    for path, purpose in _paths(one).items():
        for other_path, other_purpose in _paths(other).items():
            assert (path == other_path) == (purpose == other_purpose)
            assert path not in other_path.parents


@given(_arguments)
def test_no_path_leads_out_of_the_root(arguments: _Arguments) -> None:
    """Every path is below the root, with no step upwards in it."""
    for path in _paths(arguments):
        assert path.is_relative_to("volume")
        assert ".." not in path.parts
