"""The stock registry, run for a test, and just enough of a client to fill it.

It is Debian's docker-registry 2.8.2, or version 3 built from its Go module.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_MANIFEST, UPSTREAM_ACCEPT
from tests.support.programs import find_program

BINARY = "docker-registry"
BINARY_3 = "registry3"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0

# Loopback only, whatever proxy the environment names.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class RunningRegistry:
    """A registry in a process of its own."""

    url: str
    process: "subprocess.Popen[bytes]"

    def freeze(self) -> None:
        """Make it accept connections and say nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it at once: its connections break and its port refuses new ones."""
        self.process.kill()
        self.process.wait()


@contextmanager
def start_docker_registry(
    root: Path,
    **options: Any,  # noqa: ANN401 - passed on as given
) -> Iterator[str]:
    """Run the registry and give its base URL; see ``run_docker_registry``."""
    with run_docker_registry(root, **options) as running:
        yield running.url


@contextmanager
def run_docker_registry(
    root: Path,
    *,
    binary: str = BINARY,
    proxy_remoteurl: str | None = None,
    auth: Mapping[str, object] | None = None,
    log_file: Path | None = None,
    extra_env: Mapping[str, str] | None = None,
) -> Iterator[RunningRegistry]:
    """Run the stock registry on the volume ``root``.

    ``binary`` is the program; ``proxy_remoteurl`` makes it a mirror; ``auth`` is its section of
    that name; ``log_file`` gets the application log and the access log; ``extra_env`` adds
    ``REGISTRY_*`` overrides. The test is skipped where the program is missing.
    """
    program = find_program(binary)
    if program is None:
        pytest.skip(f"{binary} is not installed")
    port = _free_port()
    configuration: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if proxy_remoteurl is not None:
        configuration["proxy"] = {"remoteurl": proxy_remoteurl}
    if auth is not None:
        configuration["auth"] = dict(auth)
    with (
        TemporaryDirectory() as directory,
        (log_file or Path(directory) / "log").open("w+b") as log,
    ):
        # JSON is YAML.
        file = Path(directory) / "config.yml"
        file.write_text(json.dumps(configuration), encoding="utf-8")
        process = subprocess.Popen(
            [program, "serve", str(file)],
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none", **(extra_env or {})},
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(port, process, Path(log.name))
            yield RunningRegistry(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a registry accepts connections.

    Raises:
        AssertionError: it ended, or did not in time; the message holds its log.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    message = f"the registry did not start:\n{log.read_text(errors='replace')}"
    raise AssertionError(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(
    method: str, url: str, *, body: bytes | None = None, content_type: str | None = None
) -> Answer:
    """Send one request; an error status is an answer too."""
    headers = {"Accept": UPSTREAM_ACCEPT}
    if content_type is not None:
        headers["Content-Type"] = content_type
    prepared = Request(url, data=body, headers=headers, method=method)  # noqa: S310 - loopback
    try:
        with _opener.open(prepared, timeout=30) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def push_blob(
    base_url: str, repository: str, content: bytes, *, algorithm: str = "sha256"
) -> Digest:
    """Upload a blob in one piece."""
    digest = Digest.of(content, algorithm)
    begun = request("POST", f"{base_url}/v2/{repository}/blobs/uploads/", body=b"")
    assert begun.status == 202, begun
    location = begun.headers["Location"]
    query = urlencode({"digest": str(digest)})
    done = request(
        "PUT",
        f"{location}{'&' if '?' in location else '?'}{query}",
        body=content,
        content_type="application/octet-stream",
    )
    assert done.status == 201, done
    return digest


def push_manifest(
    base_url: str, repository: str, reference: str, content: bytes, media_type: str = OCI_MANIFEST
) -> Digest:
    """Upload a manifest under a tag or its digest."""
    url = f"{base_url}/v2/{repository}/manifests/{reference}"
    done = request("PUT", url, body=content, content_type=media_type)
    assert done.status == 201, done
    return Digest.of(content)


def image_manifest(config: bytes, *layers: bytes) -> bytes:
    """Write an OCI image manifest of these blobs."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [
                _descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)
                for layer in layers
            ],
        }
    ).encode()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}
