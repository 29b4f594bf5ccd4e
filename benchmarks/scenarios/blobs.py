"""Blobs that are held."""

from dataclasses import dataclass

from benchmarks.client import pull
from benchmarks.content import KIB, MIB
from benchmarks.lab import LOAD_CPU, SERVER_CPU, Lab
from benchmarks.load import Load
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import (
    DOCKER_REGISTRY,
    DOCKER_REGISTRY_TLS,
    REGISTRY_3,
    ROADSTEAD,
    ROADSTEAD_TLS,
)
from benchmarks.peers.nginx import NGINX_STATIC, NGINX_TLS
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class WarmBlobs:
    """Server and load each on a processor of its own; keep-alive connections."""

    name: str = "blobs"
    title: str = "Warm blobs"
    peers: tuple[Peer, ...] = (ROADSTEAD, DOCKER_REGISTRY, REGISTRY_3, NGINX_STATIC)
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_STATIC)
    columns: tuple[Column, ...] = (
        Column("rate", "blobs/s", 1),
        Column("throughput", "MB/s", compared=True),
        Column("cpu", "CPU s/GB", 3, compared=True),
        Column("peak", "peak RSS MiB"),
    )
    needs: tuple[str, ...] = ()
    max_rounds: int = 9
    cases: tuple[tuple[int, int], ...] = (
        (KIB, 8),
        (MIB, 1),
        (MIB, 8),
        (512 * MIB, 1),
        (512 * MIB, 8),
    )
    seconds: float = 2.0

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        with lab.serve(peer) as server:
            for size_bytes in sorted({size for size, _ in self.cases}):
                blob = lab.content.random_blob(size_bytes)
                lab.check_blob(server, blob)
                server.settle()
                lab.check_blob(server, blob)
            server.pin(SERVER_CPU)
            for size_bytes, connections in self.cases:
                blob = lab.content.random_blob(size_bytes)
                load = Load(
                    port=server.port,
                    path=blob.path,
                    size_bytes=size_bytes,
                    connections=connections,
                    seconds=self.seconds,
                    secure=server.secure,
                )
                server.reset_peak()
                cpu = server.cpu_seconds()
                outcome = pull(load, cpu=LOAD_CPU)
                cpu = server.cpu_seconds() - cpu
                size = f"{size_bytes // MIB} MiB" if size_bytes >= MIB else "1 KiB"
                yield (
                    f"{size}, c={connections}",
                    {
                        "rate": outcome.body_bytes / size_bytes / outcome.wall_seconds,
                        "throughput": outcome.body_bytes / 1e6 / outcome.wall_seconds,
                        "cpu": cpu / (outcome.body_bytes / 1e9),
                        "peak": server.peak_bytes() / MIB,
                    },
                )


WARM_BLOBS_BY_TLS = WarmBlobs(
    name="tls",
    title="Warm blobs by TLS",
    peers=(ROADSTEAD_TLS, DOCKER_REGISTRY_TLS, NGINX_TLS),
    references=(DOCKER_REGISTRY_TLS, NGINX_TLS),
    cases=((MIB, 1), (MIB, 8), (512 * MIB, 1), (512 * MIB, 8)),
)
