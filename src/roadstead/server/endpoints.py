"""Which endpoint of the registry API a path means: parsed once, into values.

Source: OCI distribution-spec 1.1, "Endpoints"; the labels are distribution's metric labels.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName, parse_reference, parse_repository


@dataclass(frozen=True, slots=True)
class Base:
    """``/v2/``: is this a registry?"""

    label: ClassVar[str] = "base"


@dataclass(frozen=True, slots=True)
class CatalogEndpoint:
    """``/v2/_catalog``."""

    label: ClassVar[str] = "catalog"


@dataclass(frozen=True, slots=True)
class TagsEndpoint:
    """``/v2/<name>/tags/list``."""

    label: ClassVar[str] = "tags"
    repository: RepositoryName


@dataclass(frozen=True, slots=True)
class ManifestEndpoint:
    """``/v2/<name>/manifests/<reference>``."""

    label: ClassVar[str] = "manifest"
    repository: RepositoryName
    reference: Reference


@dataclass(frozen=True, slots=True)
class BlobEndpoint:
    """``/v2/<name>/blobs/<digest>``."""

    label: ClassVar[str] = "blob"
    repository: RepositoryName
    digest: Digest


@dataclass(frozen=True, slots=True)
class ReferrersEndpoint:
    """``/v2/<name>/referrers/<digest>``."""

    label: ClassVar[str] = "referrers"
    repository: RepositoryName
    digest: Digest


@dataclass(frozen=True, slots=True)
class UploadEndpoint:
    """``/v2/<name>/blobs/uploads/``, which a mirror only refuses."""

    label: ClassVar[str] = "blob_upload"
    repository: RepositoryName


Endpoint: TypeAlias = (
    Base
    | CatalogEndpoint
    | TagsEndpoint
    | ManifestEndpoint
    | BlobEndpoint
    | ReferrersEndpoint
    | UploadEndpoint
)


# No endpoint is longer: a name of 255, a sha512 digest of 135, and the words around them.
_LONGEST_REMEMBERED = 512


def parse_endpoint(path: str) -> Endpoint | None:
    """Read a path that begins with ``/v2/``; None if it is no endpoint of the API.

    Raises:
        InvalidReferenceError: it is one, but its name, tag or digest breaks the grammar.
    """
    # Else a client could fill the memory with paths as long as a request line may be.
    if len(path) > _LONGEST_REMEMBERED:
        return _parse(path)
    return _remembered(path)


def _parse(path: str) -> Endpoint | None:
    rest = path.removeprefix("/v2/")
    if not rest:
        return Base()
    if rest == "_catalog":
        return CatalogEndpoint()
    if rest.endswith("/tags/list"):
        return TagsEndpoint(parse_repository(rest.removesuffix("/tags/list")))
    name, upload, _ = rest.partition("/blobs/uploads/")
    if upload:
        return UploadEndpoint(parse_repository(name))
    head, _, last = rest.rpartition("/")
    name, _, noun = head.rpartition("/")
    if not name:
        return None
    match noun:
        case "manifests":
            return ManifestEndpoint(parse_repository(name), parse_reference(last))
        case "blobs":
            return BlobEndpoint(parse_repository(name), Digest.parse(last))
        case "referrers":
            return ReferrersEndpoint(parse_repository(name), Digest.parse(last))
        case _:
            return None


_remembered = lru_cache(maxsize=16384)(_parse)
