"""Durations as Go writes them: ``300ms``, ``10s``, ``1h30m``; a bare integer is nanoseconds.

Source: registry facts, section 1, and Go's ``time.ParseDuration``. Unlike there, a duration
here is never negative: none of the settings could mean anything by it.
"""

import re
from datetime import timedelta
from decimal import Decimal

from roadstead.config.refusal import UnusableValueError

_UNIT_MICROSECONDS = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "μs": Decimal(1),
    "ms": Decimal(1_000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"\+?(?:{_PART.pattern})+")
_BARE_INTEGER = re.compile(r"[0-9]+")
_LONG = re.compile(r"([0-9]+)([dw])")
_LONG_PREFIX = re.compile(rf"(?:{_LONG.pattern})+")
_HOURS = {"d": 24, "w": 168}
_MAX_MICROSECONDS = Decimal(2**63 - 1) / 1000  # Go counts nanoseconds in 64 bits


def parse_duration(text: str) -> timedelta:
    """Read a duration, exact to the microsecond (what is smaller is rounded).

    Raises:
        UnusableValueError: it is not one; the fix names what to write.
    """
    stripped = text.strip()
    if _BARE_INTEGER.fullmatch(stripped):
        return _timedelta(int(stripped) * _UNIT_MICROSECONDS["ns"])
    if stripped.startswith("-"):
        message = "is negative"
        raise UnusableValueError(message, fix="use a duration of 0s or more")
    if _WHOLE.fullmatch(stripped) is None:
        message = "is not a duration"
        raise UnusableValueError(message, fix=_fix(stripped))
    return _timedelta(
        sum(
            (
                Decimal(number) * _UNIT_MICROSECONDS[unit]
                for number, unit in _PART.findall(stripped)
            ),
            Decimal(0),
        )
    )


def parse_age(text: str) -> timedelta:
    """Read a duration, also one in days or weeks, which Go has not: ``30d``, ``2w``, ``1d12h``.

    Raises:
        UnusableValueError: it is none.
    """
    stripped = text.strip()
    found = _LONG_PREFIX.match(stripped)
    if found is None:
        return parse_duration(text)
    hours = sum(int(number) * _HOURS[unit] for number, unit in _LONG.findall(found[0]))
    rest = stripped[found.end() :]
    more = parse_duration(rest) if rest else timedelta(0)
    return _timedelta(hours * _UNIT_MICROSECONDS["h"]) + more


def format_duration(duration: timedelta) -> str:
    """Write a duration so that ``parse_duration`` reads it again: ``1h30m``, ``250ms``, ``0s``."""
    seconds, microseconds = divmod(duration // timedelta(microseconds=1), 1_000_000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    milliseconds, microseconds = divmod(microseconds, 1000)
    counted = (
        (hours, "h"),
        (minutes, "m"),
        (seconds, "s"),
        (milliseconds, "ms"),
        (microseconds, "us"),
    )
    return "".join(f"{count}{unit}" for count, unit in counted if count) or "0s"


def _timedelta(microseconds: Decimal) -> timedelta:
    if microseconds > _MAX_MICROSECONDS:
        message = "is longer than 292 years"
        raise UnusableValueError(message, fix="use a shorter duration")
    return timedelta(microseconds=round(microseconds))


def _fix(text: str) -> str:
    long = _LONG.fullmatch(text)
    if long is None:
        return "use numbers with the units ns, us, ms, s, m, h, such as 1h30m"
    return f"use {int(long[1]) * _HOURS[long[2]]}h"
