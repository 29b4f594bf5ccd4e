"""What a second worker process gives where two processors carry server and load."""

from dataclasses import dataclass

from benchmarks.client import ACCEPT, small_requests
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import ROADSTEAD, ROADSTEAD_TWO_WORKERS
from benchmarks.peers.nginx import NGINX_STATIC
from benchmarks.process import Server
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class TwoWorkers:
    """Nothing is bound to a processor: the load takes its share of both."""

    name: str = "workers"
    title: str = (
        "Warm manifests by digest, one process and two workers, load on the same processors"
    )
    peers: tuple[Peer, ...] = (ROADSTEAD, ROADSTEAD_TWO_WORKERS, NGINX_STATIC)
    references: tuple[Peer, ...] = (ROADSTEAD,)
    columns: tuple[Column, ...] = (
        Column("rate", "req/s", compared=True),
        Column("p50", "p50 ms", 2),
        Column("p99", "p99 ms", 2),
        Column("cpu", "CPU us/req", 1),
    )
    needs: tuple[str, ...] = ("wrk",)
    max_rounds: int = 9
    connections: tuple[int, ...] = (32, 128)
    seconds: int = 3

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        path = lab.content.manifest_path(lab.content.index_digest)
        with lab.serve(peer) as server:
            lab.check_index(server, path)
            # Each worker has a memory of its own.
            small_requests(f"{server.url}{path}", connections=64, seconds=1, headers=_HEADERS)
            server.settle()
            for connections in self.connections:
                yield f"c={connections}", self._get(server, path, connections)

    def _get(self, server: Server, path: str, connections: int) -> dict[str, float]:
        cpu = server.cpu_seconds()
        rate = small_requests(
            f"{server.url}{path}",
            connections=connections,
            seconds=self.seconds,
            headers=_HEADERS,
        )
        cpu = server.cpu_seconds() - cpu
        return {
            "rate": rate.per_second,
            "p50": rate.p50_seconds * 1e3,
            "p99": rate.p99_seconds * 1e3,
            "cpu": cpu / (rate.per_second * self.seconds) * 1e6,
        }


_HEADERS = (f"Accept: {ACCEPT}",)
