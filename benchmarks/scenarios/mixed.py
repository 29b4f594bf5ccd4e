"""Small requests while a large blob streams through."""

from dataclasses import dataclass

from benchmarks.client import LoadFailedError, Pulling, small_requests
from benchmarks.content import GIB
from benchmarks.lab import Lab
from benchmarks.load import Load
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, ROADSTEAD
from benchmarks.peers.nginx import NGINX_CACHE
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class SmallBesideLarge:
    """wrk asks for a held manifest while four clients pull a cold blob; nothing is pinned."""

    name: str = "mixed"
    title: str = "Small requests while a cold blob of 2 GiB streams to 4 clients"
    peers: tuple[Peer, ...] = (ROADSTEAD, DOCKER_REGISTRY, NGINX_CACHE)
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_CACHE)
    columns: tuple[Column, ...] = (
        Column("p50", "p50 ms", 2),
        Column("p99", "p99 ms", 2, compared=True),
        Column("rate", "req/s"),
        Column("wall", "blob wall s", 2),
    )
    needs: tuple[str, ...] = ("wrk",)
    max_rounds: int = 9
    size_bytes: int = 2 * GIB
    clients: int = 4
    connections: int = 4
    seconds: int = 1

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        content = lab.content
        blob = content.sparse_blob(self.size_bytes)
        path = content.manifest_path(content.index_digest)
        with lab.serve(peer) as server:
            lab.check_index(server, path)
            server.settle()
            pulling = Pulling(
                Load(
                    port=server.port,
                    path=blob.path,
                    size_bytes=blob.size_bytes,
                    connections=self.clients,
                )
            )
            rate = small_requests(
                f"{server.url}{path}", connections=self.connections, seconds=self.seconds
            )
            outcome = pulling.outcome()
        if outcome.wall_seconds < self.seconds:
            message = f"{peer.name} had sent the blob before the small requests were over"
            raise LoadFailedError(message)
        yield (
            f"c={self.connections}",
            {
                "p50": rate.p50_seconds * 1e3,
                "p99": rate.p99_seconds * 1e3,
                "rate": rate.per_second,
                "wall": outcome.wall_seconds,
            },
        )
