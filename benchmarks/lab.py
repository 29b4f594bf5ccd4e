"""The bench: content, its upstream server, and fresh servers for each measurement."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from benchmarks.client import ACCEPT, LoadFailedError, pull
from benchmarks.content import REPOSITORY, Blob, Content
from benchmarks.load import Load
from benchmarks.peers.base import Peer, Place
from benchmarks.peers.nginx import ACCESS_LOG, NGINX_ORIGIN, UpstreamLog
from benchmarks.process import Server, free_port, run_server

# With two processors or more: one for the server, one for the load.
SERVER_CPU = 0
LOAD_CPU = 1


class Lab:
    """Runs the upstream for as long as it is open."""

    def __init__(self, directory: Path) -> None:
        """Keep contents and stores below ``directory``, best on a tmpfs."""
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Make the content and start the upstream."""
        root = self._stack.enter_context(self._temporary_directory(self._directory))
        self._root = root
        self.content = Content(root / "content")
        self._upstream = self._stack.enter_context(self.serve(NGINX_ORIGIN))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the upstream and remove everything."""
        self._stack.close()

    @contextmanager
    def serve(
        self,
        peer: Peer,
        *,
        directory: Path | None = None,
        store: Path | None = None,
        upstream_url: str | None = None,
    ) -> Iterator[Server]:
        """Run a fresh ``peer``, below ``directory`` if that is given.

        Its store is empty unless ``store`` is given, its upstream is the lab's unless
        ``upstream_url`` is.
        """
        with self._temporary_directory(directory or self._root) as place:
            if peer is NGINX_ORIGIN:
                self._log = place / ACCESS_LOG
            port = free_port()
            upstream = upstream_url or ("" if peer is NGINX_ORIGIN else self._upstream.url)
            command = peer.prepare(
                Place(
                    directory=place,
                    port=port,
                    upstream_url=upstream,
                    content=self.content,
                    store=store,
                )
            )
            with run_server(
                peer.name, command, port=port, directory=place, secure=peer.secure
            ) as server:
                yield server

    @property
    def upstream_port(self) -> int:
        """Where the upstream listens, on loopback."""
        return self._upstream.port

    def full_store(self, blobs: int) -> Path:
        """Return a store with so many small blobs of one repository; the same one each time."""
        root = self._root / f"full-{blobs}"
        if not root.exists():
            registry = root / "docker/registry/v2"
            for number in range(blobs):
                content = f"{number}\n".encode()
                encoded = hashlib.sha256(content).hexdigest()
                data = registry / f"blobs/sha256/{encoded[:2]}/{encoded}"
                link = registry / f"repositories/{REPOSITORY}/_layers/sha256/{encoded}"
                data.mkdir(parents=True)
                link.mkdir(parents=True)
                (data / "data").write_bytes(content)
                (link / "link").write_text(f"sha256:{encoded}", encoding="ascii")
        return root

    @contextmanager
    def relayed(self, *, cut_every_bytes: int = 0) -> Iterator[int]:
        """Put a slow network in front of the upstream; give its port."""
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.relay", "--port", str(port)]
        command += ["--target", str(self.upstream_port), "--cut-every", str(cut_every_bytes)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                if process.stdout is not None:
                    process.stdout.readline()
                yield port
            finally:
                process.terminate()

    def upstream_log(self) -> UpstreamLog:
        """Return the upstream's log, from now on."""
        return UpstreamLog(self._log)

    def check_index(self, server: Server, path: str) -> None:
        """Pull the image index from ``path`` and compare its digest; see ``check_blob``."""
        size_bytes = len(self.content.index)
        load = Load(port=server.port, path=path, size_bytes=size_bytes, accept=ACCEPT, hashed=True)
        _check(server, load, self.content.index_digest)

    def check_blob(self, server: Server, blob: Blob) -> None:
        """Pull a blob, over two connections at once, and compare its digest.

        Raises:
            LoadFailedError: it is not the one that is meant.
        """
        load = Load(
            port=server.port,
            path=blob.path,
            size_bytes=blob.size_bytes,
            connections=2,
            hashed=True,
            secure=server.secure,
        )
        _check(server, load, blob.digest)

    @contextmanager
    def _temporary_directory(self, parent: Path) -> Iterator[Path]:
        path = Path(tempfile.mkdtemp(prefix="roadstead-bench-", dir=parent))
        try:
            yield path
        finally:
            shutil.rmtree(path)


def _check(server: Server, load: Load, digest: str) -> None:
    found = set(pull(load).digests)
    if found != {digest}:
        message = f"{server.name} gave {found} for {load.path}"
        raise LoadFailedError(message)
