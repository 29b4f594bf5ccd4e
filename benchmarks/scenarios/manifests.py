"""Manifests that are held, by digest and by tag."""

import statistics
from dataclasses import dataclass

from benchmarks.client import ACCEPT, pull
from benchmarks.content import TAG
from benchmarks.lab import LOAD_CPU, SERVER_CPU, Lab
from benchmarks.load import Load
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import (
    DOCKER_REGISTRY,
    DOCKER_REGISTRY_LOGGING,
    REGISTRY_3,
    ROADSTEAD,
    ROADSTEAD_LOGGING,
)
from benchmarks.peers.nginx import NGINX_STATIC
from benchmarks.process import Server
from benchmarks.scenarios.base import Column, Measured
from benchmarks.scenarios.rate import RATE_COLUMNS, measure_rate


@dataclass(frozen=True, slots=True)
class WarmManifests:
    """Server and load each on a processor of its own; keep-alive, unless said otherwise.

    The load of HEAD is a Python program and the limit of it.
    """

    name: str = "manifests"
    title: str = "Warm manifests (image index of 5 KiB)"
    peers: tuple[Peer, ...] = (
        ROADSTEAD,
        DOCKER_REGISTRY,
        REGISTRY_3,
        NGINX_STATIC,
        ROADSTEAD_LOGGING,
        DOCKER_REGISTRY_LOGGING,
    )
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_STATIC)
    columns: tuple[Column, ...] = RATE_COLUMNS
    needs: tuple[str, ...] = ("wrk",)
    max_rounds: int = 9
    connections: tuple[int, ...] = (1, 32, 128)
    seconds: int = 2

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        content = lab.content
        by_digest = content.manifest_path(content.index_digest)
        by_tag = content.manifest_path(TAG)
        with lab.serve(peer) as server:
            for path in (by_digest, by_tag):
                lab.check_index(server, path)
            server.settle()
            server.pin(SERVER_CPU)
            for connections in self.connections:
                for case, path in (("by digest", by_digest), ("by tag", by_tag)):
                    yield f"{case}, c={connections}", self._get(server, path, connections)
                new = self._get(server, by_digest, connections, "Connection: close")
                yield f"by digest, a connection for each, c={connections}", new
                yield f"HEAD by tag, c={connections}", self._head(lab, server, connections)

    def _get(self, server: Server, path: str, connections: int, *headers: str) -> dict[str, float]:
        return measure_rate(
            server,
            path,
            connections=connections,
            seconds=self.seconds,
            headers=headers,
            cpu=LOAD_CPU,
        )

    def _head(self, lab: Lab, server: Server, connections: int) -> dict[str, float]:
        # wrk waits for the body of a HEAD.
        load = Load(
            port=server.port,
            path=lab.content.manifest_path(TAG),
            size_bytes=len(lab.content.index),
            accept=ACCEPT,
            connections=connections,
            seconds=self.seconds,
            method="HEAD",
        )
        cpu = server.cpu_seconds()
        outcome = pull(load, cpu=LOAD_CPU)
        cpu = server.cpu_seconds() - cpu
        waits = statistics.quantiles(outcome.first_byte_seconds, n=100)
        return {
            "rate": outcome.answers / outcome.wall_seconds,
            "p50": waits[49] * 1e3,
            "p99": waits[98] * 1e3,
            "cpu": cpu / outcome.answers * 1e6,
        }
