"""Platforms: which machines a manifest of an index is for (OCI image-spec, image-index.md).

Names are those of Go's GOOS and GOARCH; other spellings in use are read as containerd reads them
(github.com/containerd/platforms, Normalize).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
# What the specification and containerd mean where no variant stands.
_DEFAULT_VARIANTS = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
_TEXT = re.compile(r"[a-z0-9]+/[a-z0-9_-]+(?:/[a-z0-9.]+)?")
_VERSION = re.compile(r"v(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture, and the variant of it (empty: none is named)."""

    os: str
    architecture: str
    variant: str = ""

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(os: str, architecture: str, variant: str = "") -> "Platform":
        """Make one of names in any spelling; there are few, and many ask for each."""
        architecture, implied = _ALIASES.get(architecture.lower(), (architecture.lower(), ""))
        variant = variant.lower() or implied
        return Platform(os.lower(), architecture, f"v{variant}" if variant.isdigit() else variant)

    @staticmethod
    def parse(text: str) -> "Platform":
        """Read ``os/architecture`` or ``os/architecture/variant``.

        Raises:
            ValueError: the text is neither.
        """
        if _TEXT.fullmatch(text.lower()) is None:
            message = f"{text!r} is no platform such as linux/amd64 or linux/arm64/v8"
            raise ValueError(message)
        return Platform.of(*text.split("/"))

    @property
    def is_known(self) -> bool:
        """Whether this names a machine; BuildKit's attestations are for unknown/unknown."""
        return "unknown" not in (self.os, self.architecture)

    def runs(self, other: "Platform") -> bool:
        """Say whether such a machine may choose an image for ``other``.

        Clients fall back from their variant to lower ones: arm v7 to v6, amd64 v3 to v1. Without
        a variant this stands for every machine of the architecture.
        """
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        if not self.variant:
            return True
        mine, theirs = _version(self), _version(other)
        if mine is None or theirs is None:
            return self.variant == other.variant
        return theirs <= mine

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _version(platform: Platform) -> tuple[int, int] | None:
    """Return the number of a variant such as v7 or v9.2."""
    variant = platform.variant or _DEFAULT_VARIANTS.get(platform.architecture, "")
    found = _VERSION.fullmatch(variant)
    return (int(found[1]), int(found[2] or 0)) if found else None
