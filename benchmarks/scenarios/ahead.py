"""A whole image by a slow network, for a client that takes a few layers at a time."""

import hashlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.client import ACCEPT, LoadFailedError
from benchmarks.content import IMAGE_TAG, MIB, REPOSITORY
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, ROADSTEAD, ROADSTEAD_PREFETCH
from benchmarks.peers.nginx import NGINX_STATIC
from benchmarks.scenarios.base import Column, Measured

# As in benchmarks.scenarios.slow.
_DIRECT = NGINX_STATIC


@dataclass(frozen=True, slots=True)
class FetchedAhead:
    """The manifest, then config and layers, each checked; docker takes three at a time.

    nginx static stands for a client without a mirror.
    """

    name: str = "prefetch"
    title: str = "Slow network: cold image of 110 MiB in six layers"
    peers: tuple[Peer, ...] = (ROADSTEAD, ROADSTEAD_PREFETCH, DOCKER_REGISTRY, _DIRECT)
    references: tuple[Peer, ...] = (ROADSTEAD, _DIRECT)
    columns: tuple[Column, ...] = (Column("wall", "wall s", 2, compared=True),)
    needs: tuple[str, ...] = ()
    max_rounds: int = 1
    widths: tuple[int, ...] = (1, 3)

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        lab.content.image()
        for width in self.widths:
            case = "layer by layer" if width == 1 else f"{width} layers at a time"
            with lab.relayed() as relay:
                if peer is _DIRECT:
                    yield case, {"wall": _pull(relay, width)}
                    continue
                with lab.serve(peer, upstream_url=f"http://127.0.0.1:{relay}") as server:
                    server.settle()
                    yield case, {"wall": _pull(server.port, width)}


def _pull(port: int, width: int) -> float:
    """Return how long it took, in seconds.

    Raises:
        LoadFailedError: something came wrong, or not at all.
    """
    started = time.perf_counter()
    manifest = json.loads(_get(port, f"/v2/{REPOSITORY}/manifests/{IMAGE_TAG}")[1])
    wanted = [blob["digest"] for blob in (manifest["config"], *manifest["layers"])]
    with ThreadPoolExecutor(width) as pool:
        paths = [f"/v2/{REPOSITORY}/blobs/{digest}" for digest in wanted]
        got = list(pool.map(lambda path: _get(port, path)[0], paths))
    if got != wanted:
        message = "a layer has another digest"
        raise LoadFailedError(message)
    return time.perf_counter() - started


def _get(port: int, path: str) -> tuple[str, bytes]:
    """Return the digest of a body, and its last MiB."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60.0)
    try:
        connection.request("GET", path, headers={"Accept": ACCEPT})
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            message = f"{path}: {response.status}"
            raise LoadFailedError(message)
        hashed, piece = hashlib.sha256(), b""
        while more := response.read(MIB):
            piece = more
            hashed.update(piece)
    finally:
        connection.close()
    return f"sha256:{hashed.hexdigest()}", piece
