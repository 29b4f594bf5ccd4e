"""Sizes as people write them: ``100GB``, ``80 GiB``, ``5%`` of a disk; a bare integer is bytes."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from roadstead.config.refusal import UnusableValueError

_UNITS: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGTP", start=1)},
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_WHOLE_PERCENT = 100
_LARGEST = 2**63 - 1
_FIX = "write a number with B, kB, MB, GB, TB (thousands) or KiB, MiB, GiB, TiB, such as 100GB"


def parse_size(text: str) -> int:
    """Read a number of bytes. ``GB`` is 1000^3 and ``GiB`` 1024^3, in upper or lower case.

    Raises:
        UnusableValueError: it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        message = "is not a size"
        raise UnusableValueError(message, fix=_FIX)
    number, unit = Decimal(found[1]), found[2].upper()
    if not unit:
        if number != int(number):
            message = "is a fraction of a byte"
            raise UnusableValueError(message, fix=_FIX)
        unit = "B"
    if unit not in _UNITS:
        message = f"has the unknown unit {found[2]}"
        if len(unit) == 1 and f"{unit}B" in _UNITS:
            # docker means GiB by it, and dd, df and people do not agree.
            fix = f"write {found[1]}{unit}B (thousands) or {found[1]}{unit}iB (1024s)"
            raise UnusableValueError(message, fix=fix)
        raise UnusableValueError(message, fix=_FIX)
    size = int(number * _UNITS[unit])
    if size > _LARGEST:
        message = "is larger than any disk"
        raise UnusableValueError(message, fix="use a smaller size")
    return size


@dataclass(frozen=True, slots=True)
class DiskShare:
    """A part of a disk: a size, or a percentage of all of it; one of them is set."""

    size_bytes: int | None = None
    percent: float | None = None

    @staticmethod
    def parse(text: str) -> "DiskShare":
        """Read a size, or a number with a percent sign.

        Raises:
            UnusableValueError: it is neither.
        """
        found = _PERCENT.fullmatch(text.strip())
        if found is None:
            return DiskShare(size_bytes=parse_size(text))
        percent = float(found[1])
        if percent >= _WHOLE_PERCENT:
            message = "is the whole disk"
            raise UnusableValueError(message, fix="use less than 100%, such as 5%")
        return DiskShare(percent=percent)

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else str(self.size_bytes)
