"""Numbers of bytes for people."""

_STEP = 1024
_THREE_DIGITS = 100
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def written(count: int) -> str:
    """Write a number of bytes in the largest unit that fits: ``1.5 MiB``, ``180 MiB``."""
    power = 0
    while power < len(_UNITS) - 1 and count >= _STEP ** (power + 1):
        power += 1
    value = count / _STEP**power
    digits = 0 if value >= _THREE_DIGITS else 1
    return f"{value:.{digits}f}".removesuffix(".0") + f" {_UNITS[power]}"
