"""From the start of the process to its first answer, and what it then needs."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.content import MIB
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, REGISTRY_3, ROADSTEAD
from benchmarks.peers.nginx import NGINX_CACHE
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class StartUp:
    """With an empty store, and with one that is full of small blobs."""

    name: str = "startup"
    title: str = "Start-up"
    peers: tuple[Peer, ...] = (ROADSTEAD, DOCKER_REGISTRY, REGISTRY_3, NGINX_CACHE)
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_CACHE)
    columns: tuple[Column, ...] = (
        Column("start", "first answer s", 3, compared=True),
        Column("cpu", "CPU s", 2),
        Column("idle", "RSS at rest MiB", 1),
    )
    needs: tuple[str, ...] = ()
    max_rounds: int = 9

    held: int = 100_000

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        yield "empty store", self._start(lab, peer, None)
        if peer.name != NGINX_CACHE.name:
            store = lab.full_store(self.held)
            yield f"{self.held:,} blobs held", self._start(lab, peer, store)

    def _start(self, lab: Lab, peer: Peer, store: Path | None) -> dict[str, float]:
        with lab.serve(peer, store=store) as server:
            cpu = server.cpu_seconds()
            server.settle()
            server.reset_peak()
            return {"start": server.start_seconds, "cpu": cpu, "idle": server.peak_bytes() / MIB}
