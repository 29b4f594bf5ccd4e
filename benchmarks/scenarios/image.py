"""A whole image, pulled by a real client."""

import subprocess
import time
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from benchmarks.content import IMAGE_TAG, REPOSITORY
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, REGISTRY_3, ROADSTEAD
from benchmarks.peers.nginx import NGINX_CACHE, NGINX_STATIC
from benchmarks.peers.zot import ZOT
from benchmarks.process import Server
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class WholeImage:
    """skopeo copies an image of six layers into a directory; it checks every digest."""

    name: str = "image"
    title: str = "Image of 110 MiB in six layers, pulled by skopeo"
    peers: tuple[Peer, ...] = (
        ROADSTEAD,
        DOCKER_REGISTRY,
        REGISTRY_3,
        ZOT,
        NGINX_CACHE,
        NGINX_STATIC,
    )
    references: tuple[Peer, ...] = (DOCKER_REGISTRY, NGINX_STATIC)
    columns: tuple[Column, ...] = (
        Column("wall", "wall s", 2, compared=True),
        Column("cpu", "server CPU s", 2),
    )
    needs: tuple[str, ...] = ("skopeo",)
    max_rounds: int = 9

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        with lab.serve(peer) as server:
            server.settle()
            for case in ("cold", "warm"):
                yield case, self._pull(lab, server)

    def _pull(self, lab: Lab, server: Server) -> dict[str, float]:
        source = f"docker://127.0.0.1:{server.port}/{REPOSITORY}:{IMAGE_TAG}"
        cpu = server.cpu_seconds()
        with TemporaryDirectory(dir=lab.content.directory) as target:
            command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source]
            started = time.perf_counter()
            subprocess.run([*command, f"dir:{target}/image"], check=True)
            wall = time.perf_counter() - started
        server.settle()
        return {"wall": wall, "cpu": server.cpu_seconds() - cpu}
