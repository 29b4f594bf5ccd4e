"""Digests."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import DigestMismatchError, InvalidReferenceError
from roadstead.oci.digest import Digest
from tests.support.strategies import digests

ALGORITHMS = st.sampled_from(["sha256", "sha384", "sha512"])


@given(digests())
def test_a_digest_reads_as_it_prints(digest: Digest) -> None:
    """Text and value are two forms of one thing."""
    assert Digest.parse(str(digest)) == digest


@given(st.text() | st.from_regex(r"\A(sha256|sha512|md5):?[0-9a-fA-F]{60,130}\n?\Z"))
def test_text_is_a_digest_in_its_own_spelling_or_refused(text: str) -> None:
    """Nothing is trimmed, folded or guessed."""
    try:
        digest = Digest.parse(text)
    except InvalidReferenceError:
        return
    assert str(digest) == text
    assert len(digest.encoded) == 2 * digest.hasher().digest_size


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "\N{ARABIC-INDIC DIGIT ZERO}" * 64,
        "SHA256:" + "0" * 64,
        "sha512:" + "0" * 64,
        "sha1:" + "0" * 40,
        " sha256:" + "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        "../sha256:" + "0" * 64,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    """Cut, padded, foreign and misspelt digests are all refused."""
    with pytest.raises(InvalidReferenceError) as caught:
        Digest.parse(text)
    assert (caught.value.part, caught.value.given) == ("digest", text)


@given(st.binary(), ALGORITHMS)
def test_content_is_verified(content: bytes, algorithm: str) -> None:
    """Content passes its own digest, and no other content does."""
    digest = Digest.of(content, algorithm)
    assert digest.encoded == hashlib.new(algorithm, content).hexdigest()
    digest.verify(content)
    with pytest.raises(DigestMismatchError) as caught:
        digest.verify(content + b"\n")
    assert caught.value.expected == str(digest)
    assert caught.value.actual == str(Digest.of(content + b"\n", algorithm))


@given(st.binary(), st.integers(0, 100), ALGORITHMS)
def test_a_hasher_goes_by_pieces(content: bytes, cut: int, algorithm: str) -> None:
    """A digest's hasher starts empty and gives the same hash for any cut of the content."""
    hasher = Digest.of(b"", algorithm).hasher()
    hasher.update(content[:cut])
    hasher.update(content[cut:])
    assert hasher.hexdigest() == Digest.of(content, algorithm).encoded
