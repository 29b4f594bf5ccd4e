"""What was removed from the store, or has moved, as JSON can say it."""

from collections.abc import Iterable, Sequence
from typing import Any

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import (
    Removed,
    RemovedData,
    RemovedLayerLink,
    RemovedManifest,
    RemovedTag,
)


def to_json(removed: Iterable[Removed]) -> list[list[Any]]:
    """Write it."""
    return [_written(one) for one in removed]


def from_json(written: Iterable[Sequence[Any]]) -> list[Removed]:
    """Read it."""
    return [_read(one) for one in written]


def _written(removed: Removed) -> list[Any]:
    match removed:
        case RemovedTag():
            return ["tag", removed.repository, removed.tag]
        case RemovedManifest():
            return ["manifest", removed.repository, str(removed.digest)]
        case RemovedLayerLink():
            return ["layer", removed.repository, str(removed.digest)]
        case RemovedData():
            return ["data", removed.size_bytes, str(removed.digest)]


def _read(written: Sequence[Any]) -> Removed:
    kind, where, what = written
    if kind == "tag":
        return RemovedTag(RepositoryName(where), Tag(what))
    if kind == "data":
        return RemovedData(Digest.parse(what), where)
    link = RemovedManifest if kind == "manifest" else RemovedLayerLink
    return link(RepositoryName(where), Digest.parse(what))
