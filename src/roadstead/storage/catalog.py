"""Listing: which repositories a volume holds, and which tags a repository has."""

from collections.abc import Iterator
from itertools import islice
from os import scandir
from pathlib import Path

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag, parse_repository, parse_tag
from roadstead.storage.layout import LAYERS, MANIFESTS, Layout
from roadstead.storage.links import read_link
from roadstead.storage.reading import AbsenceIgnored

_Components = tuple[str, ...]


def list_repositories(layout: Layout, *, after: str | None, limit: int) -> list[RepositoryName]:
    """Return up to ``limit`` names behind ``after``, a repository before those inside it.

    Names are compared component by component (facts/registry.md, section 4.2). ``after`` need
    not exist; what lies before it is not looked at.
    """
    return list(islice(walk_repositories(layout, after=after), max(limit, 0)))


def walk_repositories(layout: Layout, *, after: str | None = None) -> Iterator[RepositoryName]:
    """Yield all names behind ``after``, in that order."""
    behind = () if after is None else tuple(after.split("/"))
    return _walk(layout.repositories, (), behind)


def list_tags(layout: Layout, repository: RepositoryName) -> list[Tag] | None:
    """Return the tags whose current link is whole, in byte order; None if nothing is held."""
    if not is_repository(_directories(layout.repository(repository))):
        return None
    tags = (_tag(name) for name in sorted(_directories(layout.tags(repository))))
    return [tag for tag in tags if tag and read_link(layout.tag_current_link(repository, tag))]


def list_manifests(layout: Layout, repository: RepositoryName) -> list[Digest]:
    """Return the digests whose revision link is whole."""
    revisions = layout.revisions(repository)
    found = (
        _digest(algorithm, encoded)
        for algorithm in _directories(revisions)
        for encoded in _directories(revisions / algorithm)
    )
    return [one for one in found if one and read_link(layout.revision_link(repository, one))]


def is_repository(directories: set[str]) -> bool:
    """Say whether a directory that contains ``directories`` is a repository.

    Version 2.8 asks for ``_layers`` and 3.x for ``_manifests``; either will do here
    (facts/registry.md, section 10.3).
    """
    return LAYERS in directories or MANIFESTS in directories


def _walk(directory: Path, name: _Components, after: _Components) -> Iterator[RepositoryName]:
    """Yield the repositories at and below ``directory``, called ``name``, behind ``after``."""
    directories = _directories(directory)
    if name > after and is_repository(directories):
        yield RepositoryName("/".join(name))
    for child in sorted(directories):
        inner = (*name, child)
        # Smaller than the beginning of ``after``: so is everything inside it.
        if inner < after[: len(inner)] or not _is_name(inner):
            continue
        yield from _walk(directory / child, inner, after)


def _directories(directory: Path) -> set[str]:
    """Return the names of the directories in ``directory``; none if it is not there."""
    with AbsenceIgnored(), scandir(directory) as entries:
        return {entry.name for entry in entries if entry.is_dir()}
    return set()


def _is_name(name: _Components) -> bool:
    """Say whether this is a repository's name: ``_uploads``, ``lost+found`` are not."""
    try:
        parse_repository("/".join(name))
    except InvalidReferenceError:
        return False
    return True


def _digest(algorithm: str, encoded: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{encoded}")
    except InvalidReferenceError:
        return None


def _tag(name: str) -> Tag | None:
    try:
        return parse_tag(name)
    except InvalidReferenceError:
        return None
