"""Content addresses (OCI image-spec, descriptor.md, section "Digests")."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from roadstead.errors import DigestMismatchError, InvalidReferenceError

if TYPE_CHECKING:
    from hashlib import _Hash

Hasher: TypeAlias = "_Hash"
"""A hash object."""

# Encoded length of the algorithms that Go clients register; any other is refused, because
# nothing could be verified against it.
_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Digest:
    """An algorithm and the hash it gave, printed as ``sha256:<hex>``."""

    algorithm: str
    encoded: str

    @staticmethod
    def parse(text: str) -> "Digest":
        """Read ``<algorithm>:<hex>``.

        Raises:
            InvalidReferenceError: the text is no digest of a known algorithm.
        """
        return _parse(text)

    @staticmethod
    def of(content: bytes, algorithm: str = "sha256") -> "Digest":
        """Hash ``content``."""
        return Digest(algorithm, hashlib.new(algorithm, content).hexdigest())

    def hasher(self) -> Hasher:
        """Return a new, empty hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def verify(self, content: bytes) -> None:
        """Check that ``content`` is what this digest names.

        Raises:
            DigestMismatchError: it is something else.
        """
        actual = Digest.of(content, self.algorithm)
        if actual != self:
            raise DigestMismatchError(str(self), str(actual))

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


@lru_cache(maxsize=65536)
def _parse(text: str) -> Digest:
    algorithm, colon, encoded = text.partition(":")
    if not colon or _HEX_LENGTHS.get(algorithm) != len(encoded) or _HEX.fullmatch(encoded) is None:
        part = "digest"
        raise InvalidReferenceError(part, text)
    return Digest(algorithm, encoded)
