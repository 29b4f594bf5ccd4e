"""Repository names, tags and references (OCI distribution-spec 1.1, section "Pull")."""

import re
from typing import NewType, TypeAlias

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest

RepositoryName = NewType("RepositoryName", str)
"""A repository name that matches the grammar, such as ``library/alpine``."""

Tag = NewType("Tag", str)
"""A tag that matches the grammar, such as ``3.20``."""

Reference: TypeAlias = Tag | Digest
"""What can stand behind ``/manifests/``."""

MAX_NAME_LENGTH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def parse_repository(text: str) -> RepositoryName:
    """Check a repository name.

    Raises:
        InvalidReferenceError: it breaks the grammar or is longer than 255 characters.
    """
    if len(text) > MAX_NAME_LENGTH or _NAME.fullmatch(text) is None:
        part = "repository"
        raise InvalidReferenceError(part, text)
    return RepositoryName(text)


def parse_tag(text: str) -> Tag:
    """Check a tag.

    Raises:
        InvalidReferenceError: it breaks the grammar.
    """
    if _TAG.fullmatch(text) is None:
        part = "tag"
        raise InvalidReferenceError(part, text)
    return Tag(text)


def parse_reference(text: str) -> Reference:
    """Read a tag or a digest; a colon makes it a digest.

    Raises:
        InvalidReferenceError: it is neither.
    """
    return Digest.parse(text) if ":" in text else parse_tag(text)


def referrers_tag(subject: Digest) -> Tag:
    """Name the fallback tag that holds the referrers of ``subject``.

    Source: distribution-spec 1.1, "Referrers Tag Schema": algorithm cut to 32 characters,
    encoded part to 64, joined by a hyphen.
    """
    return Tag(f"{subject.algorithm[:32]}-{subject.encoded[:64]}")
