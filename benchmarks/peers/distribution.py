"""Servers that read distribution's configuration file: Roadstead, and docker-registry itself."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.base import Place
from benchmarks.peers.gomodules import go_program


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionPeer:
    """A pull-through cache of that family, with the same configuration for each.

    Without ``logging`` there is no access log and errors only are logged: the best case of
    docker-registry. Else there are both log lines of each request, which go to files.
    """

    name: str
    program: str
    version_argument: str
    logging: bool = False
    secure: bool = False
    workers: int = 1
    proxy: Mapping[str, object] = field(default_factory=dict)
    """Further keys of the section."""

    def version(self) -> str:
        """See Peer."""
        command = [self.program, self.version_argument]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return " ".join(run.stdout.split()[-2:])

    def prepare(self, place: Place) -> list[str]:
        """See Peer."""
        http: dict[str, object] = {"addr": f"127.0.0.1:{place.port}", "secret": "benchmark"}
        if self.secure:
            pair = place.content.certificate
            http["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
        if self.workers > 1:
            http["workers"] = self.workers
        document = {
            "version": 0.1,
            "log": {
                "level": "info" if self.logging else "error",
                "accesslog": {"disabled": not self.logging},
            },
            "storage": {
                "filesystem": {"rootdirectory": str(place.store or place.directory / "store")},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": http,
            "proxy": {"remoteurl": place.upstream_url, **self.proxy},
        }
        file = place.directory / "config.yml"
        # JSON is YAML.
        file.write_text(json.dumps(document), encoding="utf-8")
        return [self.program, "serve", str(file)]


_ROADSTEAD = str(Path(sys.executable).with_name("roadstead"))

ROADSTEAD = DistributionPeer(name="roadstead", program=_ROADSTEAD, version_argument="version")
ROADSTEAD_LOGGING = DistributionPeer(
    name="roadstead, logging", program=_ROADSTEAD, version_argument="version", logging=True
)
ROADSTEAD_PREFETCH = DistributionPeer(
    name="roadstead, prefetch",
    program=_ROADSTEAD,
    version_argument="version",
    proxy={"prefetch": "platforms"},
)
ROADSTEAD_WITHOUT_TTL = DistributionPeer(
    name="roadstead, tagttl 0s",
    program=_ROADSTEAD,
    version_argument="version",
    proxy={"tagttl": "0s"},
)
ROADSTEAD_ONE_CONNECTION = DistributionPeer(
    name="roadstead, one connection",
    program=_ROADSTEAD,
    version_argument="version",
    proxy={"blobconnections": 1},
)
ROADSTEAD_TWO_WORKERS = DistributionPeer(
    name="roadstead, 2 workers", program=_ROADSTEAD, version_argument="version", workers=2
)
DOCKER_REGISTRY = DistributionPeer(
    name="docker-registry", program="docker-registry", version_argument="--version"
)
DOCKER_REGISTRY_LOGGING = DistributionPeer(
    name="docker-registry, logging",
    program="docker-registry",
    version_argument="--version",
    logging=True,
)
REGISTRY_3 = DistributionPeer(
    name="registry 3", program=go_program("registry3"), version_argument="--version"
)
ROADSTEAD_TLS = DistributionPeer(
    name="roadstead, TLS", program=_ROADSTEAD, version_argument="version", secure=True
)
DOCKER_REGISTRY_TLS = DistributionPeer(
    name="docker-registry, TLS",
    program="docker-registry",
    version_argument="--version",
    secure=True,
)
