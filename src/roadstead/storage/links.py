"""Link files: the digest they hold is their whole content, without a newline.

A link that cannot be read strictly is absent. distribution answers 500 for it until someone
repairs the volume; here the next fetch writes it anew.
"""

import os
from pathlib import Path

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.storage.base import HeldTag
from roadstead.storage.durability import write_atomically
from roadstead.storage.reading import AbsenceIgnored, open_regular, read_regular

# Longer than any digest, so that a whole one is told from the beginning of something else.
_READ_BYTES = 256


def read_link(path: Path) -> Digest | None:
    """Return the digest in a link file; None if there is none or it is damaged."""
    content = read_regular(path, limit_bytes=_READ_BYTES)
    return None if content is None else _parse(content)


def read_tag_link(path: Path) -> HeldTag | None:
    """Return what a tag's current link says, and when upstream last confirmed it."""
    found = _read_dated(path)
    if found is None:
        return None
    content, confirmed_at = found
    digest = _parse(content)
    return None if digest is None else HeldTag(digest, confirmed_at)


def read_dated_link(path: str, digest: Digest) -> tuple[Digest | None, float] | None:
    """Do what ``follow_link`` does, and tell the link's time too; None if there is no file.

    For walks over all links of a volume: one look at the file, and no Path.
    """
    found = _read_dated(path)
    if found is None:
        return None
    content, linked_at = found
    is_plain = content == str(digest).encode("ascii")
    return digest if is_plain else _followed(_parse(content), digest), linked_at


def follow_link(path: Path, digest: Digest) -> Digest | None:
    """Return the digest under which the content of ``digest`` is stored, by its link.

    That is ``digest`` itself, or another algorithm's: distribution stores what was asked for
    by sha512 under its sha256 and says so in the link (facts/registry.md, section 2). A link
    to other content in the same algorithm is damaged, thus None.
    """
    return _followed(read_link(path), digest)


def _followed(target: Digest | None, digest: Digest) -> Digest | None:
    if target is None or target == digest or target.algorithm != digest.algorithm:
        return target
    return None


def write_link(path: Path, digest: Digest) -> None:
    """Make the link at ``path`` hold ``digest``; one that does already is left alone."""
    if read_link(path) != digest:
        write_atomically(path, str(digest).encode("ascii"))


def write_tag_link(path: Path, digest: Digest, confirmed_at: float) -> None:
    """Make a tag's current link hold ``digest``, confirmed at that time."""
    write_link(path, digest)
    confirm_tag_link(path, confirmed_at)


def confirm_tag_link(path: Path, confirmed_at: float) -> None:
    """Note when upstream confirmed a tag (seconds since the epoch); no link, nothing to note."""
    with AbsenceIgnored():
        os.utime(path, (confirmed_at, confirmed_at))


def _read_dated(path: Path | str) -> tuple[bytes, float] | None:
    """Return what a link file holds, and its time, with one look at it; None if there is none."""
    file = open_regular(path)
    if file is None:
        return None
    with file:
        return file.read(_READ_BYTES), os.fstat(file.fileno()).st_mtime


def _parse(content: bytes) -> Digest | None:
    try:
        return Digest.parse(content.decode("ascii"))
    except (UnicodeDecodeError, InvalidReferenceError):
        return None
