"""Which children of an index are fetched: rules over platforms.

An index is always served verbatim: a trimmed one would have another digest.
"""

from collections.abc import Callable, Iterable
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


class SeenPlatforms:
    """The platforms that clients have asked for; never more than a few."""

    _MOST = 32

    def __init__(
        self, known: Iterable[str] = (), *, keep: Callable[[str], None] = lambda _: None
    ) -> None:
        """``known`` are those of before, as texts; ``keep`` remembers a further one."""
        self._keep = keep
        self._texts = set(known)

    def __contains__(self, platform: Platform) -> bool:
        return str(platform) in self._texts

    def note(self, platform: Platform) -> None:
        """Note that a client has taken an image for ``platform``."""
        text = str(platform)
        if text not in self._texts and len(self._texts) < self._MOST:
            self._texts.add(text)
            self._keep(text)
