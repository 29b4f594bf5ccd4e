"""zot, as a mirror that fetches images when they are asked for."""

import json
import subprocess
from dataclasses import dataclass

from benchmarks.peers.base import Place
from benchmarks.peers.gomodules import go_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Zot:
    """It mirrors whole images: a blob is not to be had before its manifest."""

    name: str = "zot"
    program: str = go_program("zot")
    secure: bool = False

    def version(self) -> str:
        """See Peer."""
        run = subprocess.run(
            [self.program, "--version"], capture_output=True, text=True, check=True
        )
        return (run.stdout + run.stderr).strip().rpartition("\n")[2]

    def prepare(self, place: Place) -> list[str]:
        """See Peer."""
        upstream = {"urls": [place.upstream_url], "onDemand": True, "tlsVerify": False}
        document = {
            "storage": {"rootDirectory": str(place.store or place.directory / "store")},
            "http": {"address": "127.0.0.1", "port": str(place.port)},
            "log": {"level": "error"},
            "extensions": {"sync": {"enable": True, "registries": [upstream]}},
        }
        file = place.directory / "config.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        return [self.program, "serve", str(file)]


ZOT = Zot()
