"""Memory while blobs stream: it must depend neither on their size nor on the number of clients."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import pull
from benchmarks.content import GIB, MIB
from benchmarks.lab import Lab
from benchmarks.load import Load
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import ROADSTEAD
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Cold blobs of zeros, small and large, on disk; idle is what is resident before."""

    name: str = "memory"
    title: str = "Peak memory of cold blobs"
    peers: tuple[Peer, ...] = (ROADSTEAD,)
    references: tuple[Peer, ...] = ()
    columns: tuple[Column, ...] = (
        Column("idle", "idle RSS MiB", 1),
        Column("peak", "peak RSS MiB", 1),
        Column("added", "added MiB", 1),
        Column("wall", "wall s", 2),
        Column("cpu_per_gb", "CPU s/GB sent", 2),
        Column("fetches", "upstream fetches"),
        Column("taken", "upstream bytes x", 2),
    )
    needs: tuple[str, ...] = ()
    max_rounds: int = 1
    cases: tuple[tuple[int, int], ...] = ((10 * MIB, 1), (10 * MIB, 200), (4 * GIB, 200))
    """Bytes, and clients."""

    def measure(self, lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        for size_bytes, clients in self.cases:
            case = f"{size_bytes // MIB} MiB, {clients} clients"
            yield case, self._pull(lab, peer, size_bytes, clients)

    def _pull(self, lab: Lab, peer: Peer, size_bytes: int, clients: int) -> dict[str, float]:
        disk = Path(tempfile.gettempdir())
        if shutil.disk_usage(disk).free < 2 * size_bytes:
            message = f"{disk} has no room for {size_bytes} bytes"
            raise OSError(message)
        blob = lab.content.sparse_blob(size_bytes)
        with lab.serve(peer, directory=disk) as server:
            # A first pull brings in whatever is loaded on demand.
            lab.check_blob(server, lab.content.random_blob(MIB))
            server.settle()
            log = lab.upstream_log()
            server.reset_peak()
            idle = server.peak_bytes()
            cpu = server.cpu_seconds()
            load = Load(
                port=server.port, path=blob.path, size_bytes=size_bytes, connections=clients
            )
            outcome = pull(load)
            cpu = server.cpu_seconds() - cpu
            server.settle()
            peak = server.peak_bytes()
            fetches, taken = log.taken(blob.path)
            lab.check_blob(server, blob)
        return {
            "idle": idle / MIB,
            "peak": peak / MIB,
            "added": (peak - idle) / MIB,
            "wall": outcome.wall_seconds,
            "cpu_per_gb": cpu / (outcome.body_bytes / 1e9),
            "fetches": fetches,
            "taken": taken / size_bytes,
        }
