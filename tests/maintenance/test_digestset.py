"""A set of digests in little memory is a set."""

from hypothesis import given
from hypothesis import strategies as st

from roadstead.maintenance.digestset import DigestSet
from roadstead.oci.digest import Digest

_digests = st.builds(
    Digest.of,
    st.binary(max_size=2),
    st.sampled_from(["sha256", "sha384", "sha512"]),
)


@given(st.lists(_digests), st.lists(_digests))
def test_it_agrees_with_a_set(added: list[Digest], asked: list[Digest]) -> None:
    """Adding tells what is new, asking what is in, also after the table has grown."""
    ours, plain = DigestSet(), set[Digest]()
    for digest in added:
        assert ours.add(digest) == (digest not in plain)
        plain.add(digest)
    assert len(ours) == len(plain)
    for digest in (*asked, *added):
        assert (digest in ours) == (digest in plain)


def test_it_grows() -> None:
    """Ten thousand digests are all found again, and others are not."""
    digests = [Digest.of(str(number).encode()) for number in range(20_000)]
    ours = DigestSet()
    assert all(ours.add(digest) for digest in digests[:10_000])
    assert all(digest in ours for digest in digests[:10_000])
    assert not any(digest in ours for digest in digests[10_000:])


def test_the_same_digits_of_another_algorithm_are_another_digest() -> None:
    """A digest is its algorithm and its hash."""
    ours = DigestSet()
    ours.add(Digest("sha256", "0" * 64))
    assert Digest("sha512", "0" * 128) not in ours
    assert Digest("sha256", "0" * 64) in ours
