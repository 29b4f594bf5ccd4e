"""Listing: which repositories a volume holds, and which tags a repository has."""

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.entries import digest_of, directories, repository_of, tag_of
from roadstead.storage.layout import LAYERS, MANIFESTS, Layout
from roadstead.storage.links import read_link

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
    if not is_repository(directories(layout.repository(repository))):
        return None
    tags = map(tag_of, directories(layout.tags(repository)))
    return [tag for tag in tags if tag and read_link(layout.tag_current_link(repository, tag))]


def list_manifests(layout: Layout, repository: RepositoryName) -> list[Digest]:
    """Return the digests whose revision link is whole."""
    revisions = layout.revisions(repository)
    found = (
        digest_of(algorithm, encoded)
        for algorithm in directories(revisions)
        for encoded in directories(revisions / algorithm)
    )
    return [one for one in found if one and read_link(layout.revision_link(repository, one))]


def is_repository(names: Collection[str]) -> bool:
    """Say whether a directory that contains directories with these names is a repository.

    Version 2.8 asks for ``_layers`` and 3.x for ``_manifests``; either will do here
    (facts/registry.md, section 10.3).
    """
    return LAYERS in names or MANIFESTS in names


def _walk(directory: Path, name: _Components, after: _Components) -> Iterator[RepositoryName]:
    """Yield the repositories at and below ``directory``, called ``name``, behind ``after``."""
    children = directories(directory)
    if name > after and is_repository(children):
        yield RepositoryName("/".join(name))
    for child in children:
        inner = (*name, child)
        # Smaller than the beginning of ``after``: so is everything inside it.
        if inner < after[: len(inner)] or repository_of("/".join(inner)) is None:
            continue
        yield from _walk(directory / child, inner, after)
