"""A set of digests in little memory, for marks over a whole volume.

A set of Digest takes about 400 bytes for each; here it is 16 to 32. Only 64 bits of a digest are
kept. Two digests that agree in them, one time in 10^7 runs over a million of each, are taken for
the same: then a piece of garbage stays, and nothing else.
"""

from array import array

from roadstead.oci.digest import Digest

_SMALLEST = 1024
_EMPTY = 0
# So that the same hexadecimal digits under another algorithm are another digest.
_SALTS = {"sha256": 0, "sha384": 0x5555_5555_5555_5555, "sha512": 0x3333_3333_3333_3333}


class DigestSet:
    """What was added; nothing is ever taken out.

    A digest is as good as random, so it is its own hash: a table with linear probing.
    """

    def __init__(self) -> None:
        self._count = 0
        self._table = array("Q", bytes(8 * _SMALLEST))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: Digest) -> bool:
        return self._table[self._place(_key(digest))] != _EMPTY

    def add(self, digest: Digest) -> bool:
        """Add a digest; False if it is in here already."""
        key = _key(digest)
        place = self._place(key)
        if self._table[place] != _EMPTY:
            return False
        self._table[place] = key
        self._count += 1
        if 2 * self._count > len(self._table):
            self._grow()
        return True

    def _place(self, key: int) -> int:
        """Find where a key is, or would be."""
        table = self._table
        mask = len(table) - 1
        place = key & mask
        while table[place] not in (key, _EMPTY):
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        keys, self._table = self._table, array("Q", bytes(16 * len(self._table)))
        for key in keys:
            if key != _EMPTY:
                self._table[self._place(key)] = key


def _key(digest: Digest) -> int:
    return (int(digest.encoded[:16], 16) ^ _SALTS[digest.algorithm]) or 1
