"""Which children of an index are fetched: a pure rule over platforms.

An index is always served verbatim: a trimmed one would have another digest.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from roadstead.oci.descriptor import Descriptor
from roadstead.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class PlatformRules:
    """The platforms of one upstream's clients; none listed means every one."""

    listed: tuple[Platform, ...] = ()

    @property
    def is_limited(self) -> bool:
        """Whether there is a child that would not be fetched."""
        return bool(self.listed)

    def admit(self, platform: Platform | None) -> bool:
        """Say whether a child for ``platform`` is fetched.

        What names no platform (a nested index, an artifact) and what is for no machine
        (attestations) says nothing against it.
        """
        if platform is None or not platform.is_known or not self.listed:
            return True
        return any(one.runs(platform) for one in self.listed)

    def wanted(self, children: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
        """Choose the children of an index that are fetched."""
        return tuple(child for child in children if self.admit(child.platform))
