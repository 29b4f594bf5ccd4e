"""What a scenario is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from benchmarks.lab import Lab
from benchmarks.peers.base import Peer

Measured: TypeAlias = Iterator[tuple[str, Mapping[str, float]]]
"""The cases of one round with one peer, and the values by the key of their Column."""


@dataclass(frozen=True, slots=True)
class Column:
    """A value in the report: ``decimals`` of it, as a ratio to the other peers if ``compared``."""

    key: str
    title: str
    decimals: int = 0
    compared: bool = False


class Scenario(Protocol):
    """One question, asked of several peers."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def title(self) -> str:
        """Its heading in the report."""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Whom to ask, in this order, in each round."""

    @property
    def references(self) -> tuple[Peer, ...]:
        """Those of them that the others are compared with."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is measured."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Programs that it cannot do without, beside those of peers."""

    @property
    def max_rounds(self) -> int:
        """How often it is worth asking."""

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """Run one round of all cases with one peer."""
