"""Descriptors: how one piece of content points at another (OCI image-spec, descriptor.md)."""

from dataclasses import dataclass

from roadstead.oci.digest import Digest
from roadstead.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Type, address and size in bytes of some content; an index names its children's platforms."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
