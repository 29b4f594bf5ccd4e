"""Pins: images that stay, by the configuration and by command."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Protocol

from roadstead.errors import InvalidReferenceError
from roadstead.maintenance.names import ImageNames
from roadstead.metadata.records import EvictionCandidate, Pin
from roadstead.oci.imagepattern import ImagePattern


class PinRows(Protocol):
    """Where pins are kept that were set by command: a part of ``metadata.base.Metadata``."""

    async def pins(self) -> list[Pin]:
        """List the pins, by pattern."""


class Pins:
    """All patterns of pinned images at one moment."""

    def __init__(self, names: ImageNames, patterns: Iterable[ImagePattern]) -> None:
        self._names = names
        self._patterns = tuple(patterns)

    def __call__(self, image: EvictionCandidate) -> bool:
        """Say whether an image is pinned: by name, or by a tag or digest of any member."""
        name = self._names.full(image.repository)
        patterns = [one for one in self._patterns if one.matches_name(name)]
        if not patterns:
            return False
        tags = tuple(chain.from_iterable(member.tags for member in image.members))
        digests = tuple(member.digest for member in image.members)
        return any(pattern.matches(name, tags, digests) for pattern in patterns)


async def read_pins(
    names: ImageNames, configured: Sequence[ImagePattern], rows: PinRows, *, without: str = ""
) -> Pins:
    """Return all pins but ``without``; one that names an upstream that is gone pins nothing.

    Raises:
        MetadataError: those set by command cannot be read.
    """
    patterns = list(configured)
    for pin in await rows.pins():
        if pin.pattern == without:
            continue
        try:
            patterns.append(names.pattern(pin.pattern))
        except InvalidReferenceError:
            continue
    return Pins(names, patterns)
