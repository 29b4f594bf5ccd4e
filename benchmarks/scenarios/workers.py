"""What a second worker process gives where two processors carry server and load."""

from dataclasses import dataclass

from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import ROADSTEAD, ROADSTEAD_TWO_WORKERS
from benchmarks.peers.nginx import NGINX_STATIC
from benchmarks.scenarios.base import Column, Measured
from benchmarks.scenarios.rate import RATE_COLUMNS, measure_rate


@dataclass(frozen=True, slots=True)
class TwoWorkers:
    """Nothing is bound to a processor: the load takes its share of both."""

    name: str = "workers"
    title: str = (
        "Warm manifests by digest, one process and two workers, load on the same processors"
    )
    peers: tuple[Peer, ...] = (ROADSTEAD, ROADSTEAD_TWO_WORKERS, NGINX_STATIC)
    references: tuple[Peer, ...] = (ROADSTEAD,)
    columns: tuple[Column, ...] = RATE_COLUMNS
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
            measure_rate(server, path, connections=64, seconds=1)
            server.settle()
            for connections in self.connections:
                measured = measure_rate(server, path, connections=connections, seconds=self.seconds)
                yield f"c={connections}", measured
