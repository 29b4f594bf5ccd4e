"""From the start of the process to its first answer, and what it then needs."""

from dataclasses import dataclass

from benchmarks.content import MIB
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, ROADSTEAD
from benchmarks.peers.nginx import NGINX_CACHE
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class StartUp:
    """With an empty store."""

    name: str = "startup"
    title: str = "Start-up"
    peers: tuple[Peer, ...] = (ROADSTEAD, DOCKER_REGISTRY, NGINX_CACHE)
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_CACHE)
    columns: tuple[Column, ...] = (
        Column("start", "first answer s", 3, compared=True),
        Column("cpu", "CPU s", 2),
        Column("idle", "RSS at rest MiB", 1),
    )
    max_rounds: int = 9

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        with lab.serve(peer) as server:
            cpu = server.cpu_seconds()
            server.settle()
            server.reset_peak()
            yield (
                "empty store",
                {"start": server.start_seconds, "cpu": cpu, "idle": server.peak_bytes() / MIB},
            )
