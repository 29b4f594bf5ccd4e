"""What lies in a directory of the layout: its directories, and what their names mean."""

from os import scandir
from pathlib import Path

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag, parse_repository, parse_tag
from roadstead.storage.reading import AbsenceIgnored


def directories(directory: Path | str) -> list[str]:
    """Return the names of the directories in ``directory``, in order; none if it is not there.

    Raises:
        OSError: it cannot be read.
    """
    with AbsenceIgnored(), scandir(directory) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())
    return []


def digest_of(algorithm: str, encoded: str) -> Digest | None:
    """Return the digest that two directories' names give; None if that is none."""
    try:
        return Digest.parse(f"{algorithm}:{encoded}")
    except InvalidReferenceError:
        return None


def tag_of(name: str) -> Tag | None:
    """Return the tag that a directory's name is; None if it is none."""
    try:
        return parse_tag(name)
    except InvalidReferenceError:
        return None


def repository_of(name: str) -> RepositoryName | None:
    """Return the repository's name that a path is; None for ``_uploads``, ``lost+found``."""
    try:
        return parse_repository(name)
    except InvalidReferenceError:
        return None
