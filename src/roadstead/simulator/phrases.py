"""Faults as an operator writes them: ``cut:1MiB``, ``status:503``, ``latency:0.2``."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from roadstead.simulator.faults import (
    Cut,
    Fault,
    Html,
    Slow,
    Stall,
    Status,
    WithoutRange,
    WrongBytes,
)
from roadstead.simulator.stage import Stage

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]i?)?B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_STATUSES = range(400, 600)


class Place(Enum):
    """Where a fault acts."""

    BODIES = auto()
    """On the bytes of blobs, wherever they are sent from."""
    REGISTRY = auto()
    """On every answer of the registry itself."""
    EVERYWHERE = auto()
    """On every answer of every host."""


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of fault: its argument (empty for none), its meaning, and how it is made."""

    argument: str
    meaning: str
    place: Place
    make: Callable[[str], Fault]


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault that was asked for, in the words of who asked."""

    text: str
    fault: Fault
    place: Place

    def apply(self, stage: Stage, *, times: int | None) -> None:
        """Put it in place, to act ``times`` (None: always)."""
        if self.place is Place.BODIES:
            stage.inject_into_bodies(
                self.fault, times=times, min_body_bytes=self._reach(), label=self.text
            )
            return
        hosts = stage.hosts if self.place is Place.EVERYWHERE else [stage.registry]
        for host in hosts:
            host.inject(self.fault, times=times, label=self.text)

    def _reach(self) -> int:
        """Return how long a body has to be, so that ``times`` counts only what is felt."""
        match self.fault:
            case Cut(after=int(after)) | Stall(after=int(after)):
                return after
            case _:
                return 0


def parse_size(text: str) -> int:
    """Read a number of bytes: ``100``, ``64KiB``, ``1.5MB``.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        message = f"{text!r} is no number of bytes; write 100, 64KiB or 1.5MB"
        raise ValueError(message)
    return int(float(match.group(1)) * _UNITS[(match.group(2) or "").lower()])


def parse_fault(text: str) -> PlannedFault:
    """Read a fault.

    Raises:
        ValueError: there is no such fault, or its argument is wrong; the text says what fits.
    """
    word, colon, argument = text.partition(":")
    form = FORMS.get(word)
    if form is None:
        message = f"there is no fault {word!r}; there are {', '.join(FORMS)}"
        raise ValueError(message)
    if bool(colon) != bool(form.argument):
        message = f"{word} takes no argument" if colon else f"write {word}:{form.argument}"
        raise ValueError(message)
    return PlannedFault(text, form.make(argument), form.place)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        message = f"{text!r} is no number of seconds"
        raise ValueError(message)
    return number


def _status(text: str) -> Status:
    if not text.isdecimal() or int(text) not in _STATUSES:
        message = f"{text!r} is no status from 400 to 599"
        raise ValueError(message)
    code = {"401": "UNAUTHORIZED", "403": "DENIED", "429": "TOOMANYREQUESTS"}.get(text, "UNKNOWN")
    return Status(int(text), code, "the upstream simulator was told to say so")


def _speed(text: str) -> Slow:
    bytes_per_second = parse_size(text)
    if bytes_per_second == 0:
        message = "a speed of 0 is a stall; write stall:0"
        raise ValueError(message)
    return Slow(bytes_per_second=bytes_per_second)


FORMS: Final = {
    "cut": Form(
        "BYTES",
        "blobs end after so many bytes, by a closed connection",
        Place.BODIES,
        lambda text: Cut(parse_size(text)),
    ),
    "reset": Form(
        "BYTES",
        "the same, by a reset",
        Place.BODIES,
        lambda text: Cut(parse_size(text), reset=True),
    ),
    "stall": Form(
        "BYTES",
        "blobs fall silent after so many bytes",
        Place.BODIES,
        lambda text: Stall(after=parse_size(text)),
    ),
    "slow": Form("BYTES_PER_SECOND", "blobs are sent at this speed", Place.BODIES, _speed),
    "wrong-bytes": Form(
        "", "the last byte of a blob is another", Place.BODIES, lambda _: WrongBytes()
    ),
    "no-range": Form("", "Range is ignored", Place.BODIES, lambda _: WithoutRange()),
    "status": Form("CODE", "the registry answers with this status", Place.REGISTRY, _status),
    "html": Form("", "the registry answers 200 with a web page", Place.REGISTRY, lambda _: Html()),
    "latency": Form(
        "SECONDS",
        "every host answers so much later",
        Place.EVERYWHERE,
        lambda text: Slow(latency_seconds=_number(text)),
    ),
}
"""Every fault by its word."""
