"""A large blob that the server does not hold yet, for one client and for many."""

import statistics
from dataclasses import dataclass

from benchmarks.client import pull
from benchmarks.content import MIB, Blob
from benchmarks.lab import Lab
from benchmarks.load import Load
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, REGISTRY_3, ROADSTEAD
from benchmarks.peers.nginx import NGINX_CACHE, NGINX_STATIC
from benchmarks.process import Server
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class ColdBlob:
    """A fresh server with an empty store for each case; nothing is pinned.

    CPU and memory are those of the server, with whatever it does after the last answer. nginx
    static stands for a direct download from upstream.
    """

    name: str = "cold"
    title: str = "Cold blobs"
    peers: tuple[Peer, ...] = (ROADSTEAD, DOCKER_REGISTRY, REGISTRY_3, NGINX_CACHE, NGINX_STATIC)
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_CACHE, NGINX_STATIC)
    columns: tuple[Column, ...] = (
        Column("wall", "wall s", 2, compared=True),
        Column("first", "first byte ms, median", 1),
        Column("first_worst", "worst", 1),
        Column("cpu", "CPU s", 2, compared=True),
        Column("peak", "peak RSS MiB"),
        Column("fetches", "upstream fetches"),
        Column("taken", "upstream bytes x", 2),
    )
    needs: tuple[str, ...] = ()
    max_rounds: int = 9
    cases: tuple[tuple[int, int], ...] = ((512, 1), (512, 16), (64, 200))
    """MiB, and clients."""

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        for mebibytes, clients in self.cases:
            with lab.serve(peer) as server:
                blob = lab.content.random_blob(mebibytes * MIB)
                yield f"{mebibytes} MiB, {clients} clients", self._pull(lab, server, blob, clients)

    def _pull(self, lab: Lab, server: Server, blob: Blob, clients: int) -> dict[str, float]:
        log = lab.upstream_log()
        server.settle()
        server.reset_peak()
        cpu = server.cpu_seconds()
        outcome = pull(
            Load(port=server.port, path=blob.path, size_bytes=blob.size_bytes, connections=clients)
        )
        server.settle()
        cpu = server.cpu_seconds() - cpu
        peak = server.peak_bytes()
        fetches, taken = log.taken(blob.path)
        lab.check_blob(server, blob)
        first = sorted(outcome.first_byte_seconds)
        return {
            "wall": outcome.wall_seconds,
            "first": statistics.median(first) * 1e3,
            "first_worst": first[-1] * 1e3,
            "cpu": cpu,
            "peak": peak / MIB,
            "fetches": fetches,
            "taken": taken / blob.size_bytes,
        }
