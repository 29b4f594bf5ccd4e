"""An upstream whose quota is spent: what clients see, what upstream sees, and what comes after."""

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from benchmarks.client import ACCEPT, LoadFailedError
from benchmarks.content import REPOSITORY
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import (
    DOCKER_REGISTRY,
    REGISTRY_3,
    ROADSTEAD,
    ROADSTEAD_WITHOUT_TTL,
)
from benchmarks.peers.nginx import NGINX_CACHE
from benchmarks.process import Server
from benchmarks.scenarios.base import Column, Measured
from benchmarks.scripted import scripted_upstream
from roadstead.simulator import faults
from roadstead.simulator.registry import ScriptedRegistry

_HELD, _NEW = "held", "new"
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class SpentQuota:
    """Upstream answers everything with 429 and ``Retry-After`` for a while.

    Meanwhile a client asks by turns for a tag that was pulled before and for one that was not.
    Upstream then gives again, and the client asks for the new one until it gets it.
    """

    name: str = "429"
    title: str = "Upstream answers 429 for 4 s, with Retry-After: 2"
    peers: tuple[Peer, ...] = (
        ROADSTEAD,
        ROADSTEAD_WITHOUT_TTL,
        DOCKER_REGISTRY,
        REGISTRY_3,
        NGINX_CACHE,
    )
    references: tuple[Peer, ...] = ()
    columns: tuple[Column, ...] = (
        Column("held", "held tag: 200, %"),
        Column("refused", "new tag: 429, %"),
        Column("other", "new tag: another error, %"),
        Column("asked", "asked by clients"),
        Column("upstream", "upstream asked"),
        Column("recovery", "new tag after the end, s", 2),
    )
    needs: tuple[str, ...] = ()
    max_rounds: int = 1
    seconds: float = 4.0
    patience_seconds: float = 90.0

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        with scripted_upstream() as upstream:
            for tag in (_HELD, _NEW):
                upstream.add_image(REPOSITORY, tag=tag, layers=[tag.encode()])
            with lab.serve(peer, upstream_url=upstream.url) as server:
                if _ask(server, _HELD) != HTTPStatus.OK:
                    message = f"{peer.name} does not give what upstream has"
                    raise LoadFailedError(message)
                server.settle()
                yield "one client", self._refused(server, upstream)

    def _refused(self, server: Server, upstream: ScriptedRegistry) -> dict[str, float]:
        refusal = upstream.inject(faults.Status(429, "TOOMANYREQUESTS", headers=_RETRY))
        before = len(upstream.requests)
        held: Counter[int] = Counter()
        new: Counter[int] = Counter()
        for _ in _ticks(self.seconds):
            held[_ask(server, _HELD)] += 1
            new[_ask(server, _NEW)] += 1
        asked = len(upstream.requests) - before
        upstream.withdraw(refusal)
        ended = time.perf_counter()
        recovery = next(
            (
                time.perf_counter() - ended
                for _ in _ticks(self.patience_seconds)
                if _ask(server, _NEW) == HTTPStatus.OK
            ),
            self.patience_seconds,
        )
        return {
            "held": held[HTTPStatus.OK] / held.total() * 100,
            "refused": new[HTTPStatus.TOO_MANY_REQUESTS] / new.total() * 100,
            "other": (new.total() - new[HTTPStatus.TOO_MANY_REQUESTS]) / new.total() * 100,
            "asked": held.total() + new.total(),
            "upstream": asked,
            "recovery": recovery,
        }


_RETRY = {"Retry-After": "2"}


def _ticks(seconds: float) -> Iterator[None]:
    ended = time.perf_counter() + seconds
    while time.perf_counter() < ended:
        yield
        time.sleep(_PAUSE_SECONDS)


def _ask(server: Server, tag: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60.0)
    try:
        headers = {"Accept": ACCEPT}
        connection.request("GET", f"/v2/{REPOSITORY}/manifests/{tag}", headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
