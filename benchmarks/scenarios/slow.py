"""A slow network between the mirror and its upstream; clients are near the mirror."""

import statistics
from dataclasses import dataclass

from benchmarks.client import pull
from benchmarks.content import MIB
from benchmarks.lab import Lab
from benchmarks.load import Load
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import (
    DOCKER_REGISTRY,
    REGISTRY_3,
    ROADSTEAD,
    ROADSTEAD_ONE_CONNECTION,
)
from benchmarks.peers.nginx import NGINX_CACHE, NGINX_STATIC
from benchmarks.scenarios.base import Column, Measured

# By the other names, the client of this one asks upstream directly, through the slow network.
_DIRECT = NGINX_STATIC


@dataclass(frozen=True, slots=True)
class SlowNetwork:
    """A cold blob by a relay with 80 ms round trip and 20 MB/s for each connection.

    nginx static stands for a client without a mirror. With cuts, the connection that brings
    another 64 MiB is reset: a plain client fails then, and is not measured. The longest pause is
    the longest time in which a client that is receiving gets nothing: over one connection, a cut.
    """

    name: str = "slow"
    title: str = "Slow network: cold blob of 256 MiB, 80 ms round trip, 20 MB/s a connection"
    peers: tuple[Peer, ...] = (ROADSTEAD, DOCKER_REGISTRY, REGISTRY_3, NGINX_CACHE, _DIRECT)
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, _DIRECT)
    columns: tuple[Column, ...] = (
        Column("wall", "wall s", 2, compared=True),
        Column("first", "first byte ms, median", 1, compared=True),
        Column("pause", "longest pause ms"),
        Column("fetches", "upstream fetches"),
        Column("taken", "upstream bytes x", 2),
    )
    needs: tuple[str, ...] = ()
    max_rounds: int = 1
    size_bytes: int = 256 * MIB
    cut_every_bytes: int = 64 * MIB

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        yield "1 client", self._pull(lab, peer, 1)
        yield "16 clients", self._pull(lab, peer, 16)
        if peer is ROADSTEAD:
            for case, asked in (
                ("1 client, cuts", peer),
                ("1 client, cuts, one connection", ROADSTEAD_ONE_CONNECTION),
            ):
                yield case, self._pull(lab, asked, 1, cut_every_bytes=self.cut_every_bytes)

    def _pull(
        self, lab: Lab, peer: Peer, clients: int, *, cut_every_bytes: int = 0
    ) -> dict[str, float]:
        blob = lab.content.random_blob(self.size_bytes)
        with lab.relayed(cut_every_bytes=cut_every_bytes) as relay:
            if peer is _DIRECT:
                return self._measured(lab, relay, blob.path, clients)
            with lab.serve(peer, upstream_url=f"http://127.0.0.1:{relay}") as server:
                server.settle()
                values = self._measured(lab, server.port, blob.path, clients)
                lab.check_blob(server, blob)
                return values

    def _measured(self, lab: Lab, port: int, path: str, clients: int) -> dict[str, float]:
        log = lab.upstream_log()
        load = Load(port=port, path=path, size_bytes=self.size_bytes, connections=clients)
        outcome = pull(load)
        fetches, taken = log.taken(path)
        return {
            "wall": outcome.wall_seconds,
            "first": statistics.median(outcome.first_byte_seconds) * 1e3,
            "pause": outcome.longest_pause_seconds * 1e3,
            "fetches": fetches,
            "taken": taken / self.size_bytes,
        }
