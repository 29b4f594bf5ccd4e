"""Manifests that are held, by digest and by tag."""

from dataclasses import dataclass

from benchmarks.client import small_requests
from benchmarks.content import TAG
from benchmarks.lab import LOAD_CPU, SERVER_CPU, Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import (
    DOCKER_REGISTRY,
    DOCKER_REGISTRY_LOGGING,
    ROADSTEAD,
    ROADSTEAD_LOGGING,
)
from benchmarks.peers.nginx import NGINX_STATIC
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class WarmManifests:
    """Server and load each on a processor of its own; keep-alive connections."""

    name: str = "manifests"
    title: str = "Warm manifests (image index of 5 KiB)"
    peers: tuple[Peer, ...] = (
        ROADSTEAD,
        DOCKER_REGISTRY,
        NGINX_STATIC,
        ROADSTEAD_LOGGING,
        DOCKER_REGISTRY_LOGGING,
    )
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_STATIC)
    columns: tuple[Column, ...] = (
        Column("rate", "req/s", compared=True),
        Column("p50", "p50 ms", 2),
        Column("p99", "p99 ms", 2),
        Column("cpu", "CPU us/req", 1),
    )
    max_rounds: int = 9
    connections: tuple[int, ...] = (1, 32, 128)
    seconds: int = 2

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        content = lab.content
        with lab.serve(peer) as server:
            paths = {
                "by digest": content.manifest_path(content.index_digest),
                "by tag": content.manifest_path(TAG),
            }
            for path in paths.values():
                lab.check_index(server, path)
            server.settle()
            server.pin(SERVER_CPU)
            for case, path in paths.items():
                for connections in self.connections:
                    cpu = server.cpu_seconds()
                    rate = small_requests(
                        f"{server.url}{path}",
                        connections=connections,
                        seconds=self.seconds,
                        cpu=LOAD_CPU,
                    )
                    cpu = server.cpu_seconds() - cpu
                    yield (
                        f"{case}, c={connections}",
                        {
                            "rate": rate.per_second,
                            "p50": rate.p50_seconds * 1e3,
                            "p99": rate.p99_seconds * 1e3,
                            "cpu": cpu / (rate.per_second * self.seconds) * 1e6,
                        },
                    )
