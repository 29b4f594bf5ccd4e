"""Link files, whole and damaged."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.oci.digest import Digest
from roadstead.storage.base import HeldTag
from roadstead.storage.links import follow_link, read_link, read_tag_link, write_link
from tests.support.strategies import digests
from tests.support.volumes import put

DIGEST = Digest.of(b"content")

DAMAGED = {
    "empty": b"",
    "cut": str(DIGEST).encode()[:-1],
    "newline": f"{DIGEST}\n".encode(),
    "space before": f" {DIGEST}".encode(),
    "twice": f"{DIGEST}{DIGEST}".encode(),
    "capitals": str(DIGEST).upper().encode(),
    "unknown algorithm": b"md5:d41d8cd98f00b204e9800998ecf8427e",
    "binary": bytes(range(256)),
    "zeros of a lost write": bytes(71),
    "beyond ASCII": b"sha256:" + "é".encode() * 32,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_link_is_absent(tmp_path: Path, content: bytes) -> None:
    """Whatever is not exactly one digest is as good as no link, and is repaired by writing."""
    path = put(tmp_path / "link", content)
    assert read_link(path) is None
    assert read_tag_link(path) is None
    write_link(path, DIGEST)
    assert read_link(path) == DIGEST


@given(content=st.binary(max_size=300) | st.sampled_from(sorted(DAMAGED.values())))
def test_reading_never_fails_on_content(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Any bytes are a digest in exactly its own spelling, or absent."""
    digest = read_link(put(tmp_path_factory.mktemp("link") / "link", content))
    assert digest is None or str(digest).encode() == content


@given(digest=digests())
def test_a_link_holds_the_digest_alone(
    tmp_path_factory: pytest.TempPathFactory, digest: Digest
) -> None:
    """A written link is the digest's text, without a newline, and reads as the digest."""
    path = tmp_path_factory.mktemp("link") / "link"
    write_link(path, digest)
    assert path.read_bytes() == str(digest).encode()
    assert read_link(path) == digest


def test_what_is_no_file_is_absent(tmp_path: Path) -> None:
    """A directory, a pipe, a loop of symbolic links or a file as parent mean absence."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    put(tmp_path / "file", b"")
    for name in ("missing", "directory", "pipe", "loop", "file/link", "missing/link"):
        assert read_link(tmp_path / name) is None
        assert read_tag_link(tmp_path / name) is None


def test_a_whole_link_is_not_written_again(tmp_path: Path) -> None:
    """Writing the same digest leaves the file alone; another one replaces it."""
    path = tmp_path / "link"
    write_link(path, DIGEST)
    before = path.stat().st_ino
    write_link(path, DIGEST)
    assert path.stat().st_ino == before
    write_link(path, Digest.of(b"other"))
    assert read_link(path) == Digest.of(b"other")


def test_a_link_may_name_another_algorithm(tmp_path: Path) -> None:
    """A link leads to its own digest or to another algorithm's, never to other content."""
    asked = Digest.of(b"content", "sha512")
    assert follow_link(put(tmp_path / "own", str(asked).encode()), asked) == asked
    assert follow_link(put(tmp_path / "alias", str(DIGEST).encode()), asked) == DIGEST
    other = str(Digest.of(b"other")).encode()
    assert follow_link(put(tmp_path / "other", other), DIGEST) is None


def test_a_tag_was_confirmed_when_its_link_was_written(tmp_path: Path) -> None:
    """On an adopted volume the modification time of the link is the time of confirmation."""
    path = put(tmp_path / "link", str(DIGEST).encode())
    os.utime(path, (1.0, 1234.5))
    assert read_tag_link(path) == HeldTag(DIGEST, 1234.5)
