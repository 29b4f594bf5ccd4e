"""What the harness needs to know about a server that it starts."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.content import Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server runs: an empty directory, a port of loopback, and what is upstream of it."""

    directory: Path
    port: int
    upstream_url: str
    content: Content
    store: Path | None = None
    """A store that is there already; None: an empty one, in the directory."""


class Peer(Protocol):
    """A kind of server."""

    @property
    def name(self) -> str:
        """Its name in the report."""

    @property
    def program(self) -> str:
        """The program, by path or as found on PATH."""

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""

    def version(self) -> str:
        """Say which version is installed."""

    def prepare(self, place: Place) -> list[str]:
        """Write its configuration into the directory and return the command that runs it."""


def is_installed(peer: Peer) -> bool:
    """Say whether the peer's program is on this machine."""
    return shutil.which(peer.program) is not None
