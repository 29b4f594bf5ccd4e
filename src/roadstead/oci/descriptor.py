"""Descriptors: how one piece of content points at another (OCI image-spec, descriptor.md)."""

from dataclasses import dataclass

from roadstead.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Type, address and size in bytes of some content."""

    media_type: str
    digest: Digest
    size: int
