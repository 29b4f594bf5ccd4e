"""What a repository needs: pure rules over its manifests and tags.

Without ``delete_untagged`` every held manifest stays, as in distribution. With it, distribution
removes all that no tag points at. In a mirror that would be what was pulled by digest, which is
how Kubernetes and CI pin what they must not lose. So what goes here is what a tag has left. The
rule, exactly:

*Left* is a manifest that the history of a tag names and that no tag points at now; and so are the
manifests of an index that is left, and what refers to something that is left, at any depth. What is
left goes, unless it is young, a tag points at it, or it is contained in, or refers to, something
that stays. Everything else stays.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from roadstead.oci.digest import Digest
from roadstead.oci.manifest import Manifest


@dataclass(frozen=True, slots=True)
class TagPointers:
    """What a tag points at (None: nothing), and all that it points or once pointed at."""

    current: Digest | None
    history: Collection[Digest]


def kept_manifests(
    manifests: Mapping[Digest, Manifest | None],
    tags: Iterable[TagPointers],
    *,
    delete_untagged: bool,
    young: Collection[Digest] = (),
) -> set[Digest]:
    """Return which of the held manifests stay; one that cannot be read is None."""
    if not delete_untagged:
        return set(manifests)
    current: set[Digest] = set()
    history: set[Digest] = set()
    for tag in tags:
        history.update(tag.history)
        if tag.current is not None:
            current.add(tag.current)
    referrers: dict[Digest, list[Digest]] = {}
    for digest, manifest in manifests.items():
        subject = manifest.subject if manifest is not None else None
        if subject is not None:
            referrers.setdefault(subject.digest, []).append(digest)
    left = _closure(manifests, referrers, history - current)
    return _closure(manifests, referrers, (manifests.keys() - left) | current | set(young))


def needed_blobs(
    manifests: Mapping[Digest, Manifest | None], kept: Iterable[Digest]
) -> set[Digest] | None:
    """Return configs and layers of manifests that stay; None if one of them cannot be read."""
    needed: set[Digest] = set()
    for digest in kept:
        manifest = manifests[digest]
        if manifest is None:
            return None
        needed.update(blob.digest for blob in manifest.blobs)
    return needed


def _closure(
    manifests: Mapping[Digest, Manifest | None],
    referrers: Mapping[Digest, Iterable[Digest]],
    roots: Iterable[Digest],
) -> set[Digest]:
    """Follow indexes to their children, and subjects to what refers to them, at any depth."""
    kept: set[Digest] = set()
    waiting = [root for root in roots if root in manifests]
    while waiting:
        digest = waiting.pop()
        if digest in kept:
            continue
        kept.add(digest)
        manifest = manifests[digest]
        if manifest is not None:
            children = (child.digest for child in manifest.children)
            waiting.extend(child for child in children if child in manifests)
        waiting.extend(referrers.get(digest, ()))
    return kept
