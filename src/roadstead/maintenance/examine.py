"""Reading one repository as a collection needs to see it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from roadstead.errors import ManifestInvalidError
from roadstead.maintenance.reachability import TagPointers, kept_manifests, needed_blobs
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import Manifest, parse_manifest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import HeldLink, HeldTagLinks, Walk


@dataclass(frozen=True, slots=True)
class Superseded:
    """A manifest that may go: its link, and the tags that once pointed at it."""

    link: HeldLink
    tags: list[Tag]


@dataclass(slots=True)
class Findings:
    """What stays of a repository, and what may go.

    ``kept`` maps each manifest that stays to what it points at (None if it cannot be read);
    ``data`` is what must stay of the data for the repository's sake. ``damaged`` are links to
    manifests that lead nowhere, ``tags`` those that do.
    """

    kept: dict[Digest, Manifest | None] = field(default_factory=dict)
    data: set[Digest] = field(default_factory=set)
    manifests: list[Superseded] = field(default_factory=list)
    damaged: list[HeldLink] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    layers: list[HeldLink] = field(default_factory=list)


def examine(
    walk: Walk, repository: RepositoryName, *, delete_untagged: bool, young_since: float
) -> Findings:
    """Find out what a repository needs. Links not older than ``young_since`` stay in any case.

    A client may have asked for their content and be about to ask for what needs it.

    Raises:
        OSError: it cannot be read, and all of it must stay.
    """
    findings = Findings()
    links: dict[Digest, HeldLink] = {}
    held: dict[Digest, Manifest | None] = {}
    for link in walk.revisions(repository):
        content = walk.read(link.source) if link.source is not None else None
        if content is not None:
            links[link.digest] = link
            held[link.digest] = _parse(content)
        elif link.stored_at < young_since:
            findings.damaged.append(link)
    tags = list(walk.tags(repository))
    young = {digest for digest, link in links.items() if link.stored_at >= young_since}
    kept = kept_manifests(
        held,
        (TagPointers(tag.current, tag.history) for tag in tags),
        delete_untagged=delete_untagged,
        young=young,
    )
    for digest, manifest in held.items():
        if digest in kept:
            findings.kept[digest] = manifest
            findings.data |= {digest, links[digest].source or digest}
        else:
            names = [tag.tag for tag in tags if digest in tag.history]
            findings.manifests.append(Superseded(links[digest], names))
    findings.tags.extend(_tags_of_nothing(tags, held.keys(), young_since))
    needed = needed_blobs(held, kept)
    findings.data |= needed or set()
    for link in walk.layers(repository):
        if link.stored_at >= young_since or (
            link.source is not None and (needed is None or link.digest in needed)
        ):
            findings.data |= {link.digest, link.source or link.digest}
        else:
            findings.layers.append(link)
    return findings


def _tags_of_nothing(
    tags: list[HeldTagLinks], held: Collection[Digest], young_since: float
) -> Iterator[Tag]:
    """Yield the tags whose link and whose history lead to nothing that is held."""
    for tag in tags:
        named = {*tag.history, *([tag.current] if tag.current is not None else [])}
        if tag.stored_at < young_since and named.isdisjoint(held):
            yield tag.tag


def _parse(content: bytes) -> Manifest | None:
    try:
        return parse_manifest(content)
    except ManifestInvalidError:
        return None
