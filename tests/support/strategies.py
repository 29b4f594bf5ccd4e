"""Hypothesis strategies for the nouns of the OCI specifications."""

from hypothesis import strategies as st

from roadstead.oci.digest import Digest
from roadstead.oci.reference import MAX_NAME_LENGTH, RepositoryName, Tag

_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
_HEX = "0123456789abcdef"
_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def digests() -> st.SearchStrategy[Digest]:
    """Make digests of every known algorithm."""
    return st.sampled_from(sorted(_HEX_LENGTHS)).flatmap(
        lambda algorithm: st.text(
            _HEX, min_size=_HEX_LENGTHS[algorithm], max_size=_HEX_LENGTHS[algorithm]
        ).map(lambda encoded: Digest(algorithm, encoded))
    )


def components() -> st.SearchStrategy[str]:
    """Make components of repository names, with every kind of separator."""
    word = st.text(_LOWER, min_size=1, max_size=4)
    rest = st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), word).map("".join)
    return st.tuples(word, st.lists(rest, max_size=2).map("".join)).map("".join)


def repositories() -> st.SearchStrategy[RepositoryName]:
    """Make repository names of one to four components."""
    return (
        st.lists(components(), min_size=1, max_size=4)
        .map("/".join)
        .filter(lambda name: len(name) <= MAX_NAME_LENGTH)
        .map(RepositoryName)
    )


def tags() -> st.SearchStrategy[Tag]:
    """Make tags, up to the longest."""
    letters = _LOWER + _LOWER.upper() + "_"
    return st.tuples(st.sampled_from(letters), st.text(letters + ".-", max_size=127)).map(
        lambda parts: Tag("".join(parts))
    )
