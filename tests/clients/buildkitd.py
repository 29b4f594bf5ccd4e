"""BuildKit without Docker: buildkitd and buildctl, which Debian does not have.

scripts/build-from-go builds them.
"""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.images import Image
from tests.support.programs import find_program


@dataclass(frozen=True, slots=True)
class Buildkitd:
    """A running buildkitd."""

    buildctl: str
    home: Path

    def fetch(self, reference: str) -> list[str]:
        """Build; return the uncompressed layers that the result has below its own one."""
        context, result = self.home / "context", self.home / "result.tar"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(f"FROM {reference}\nCOPY Dockerfile /\n")
        self._buildctl(
            *("build", "--no-cache", "--frontend", "dockerfile.v0"),
            *("--local", f"context={context}", "--local", f"dockerfile={context}"),
            *("--output", f"type=oci,dest={result}"),
        )
        return _layers(result)[:-1]

    def expected(self, image: Image) -> list[str]:
        """Return the digests of the uncompressed layers."""
        return list(image.native.diff_ids)

    def drop(self, reference: str) -> None:
        """Remove all that the builder keeps, and the result."""
        del reference
        self._buildctl("prune", "--all")
        (self.home / "result.tar").unlink()

    def _buildctl(self, *arguments: str) -> str:
        address = f"unix://{self.home}/socket"
        return sandbox.run(self.buildctl, "--addr", address, *arguments, home=self.home)


@contextmanager
def buildkitd(configuration: str, home: Path) -> Iterator[Buildkitd]:
    """Start buildkitd with these registries in its ``buildkitd.toml``."""
    sandbox.require("runc")
    programs = [find_program(name) for name in ("buildkitd", "buildctl")]
    daemon, control = programs
    if daemon is None or control is None:
        pytest.skip("buildkitd and buildctl are not installed: scripts/build-from-go buildkit")
    file = home / "buildkitd.toml"
    file.write_text(configuration)
    address = f"unix://{home}/socket"
    with sandbox.daemon(
        [
            *(daemon, "--config", file, "--root", home / "root", "--addr", address),
            *("--containerd-worker=false", "--oci-worker-snapshotter=native"),
        ],
        probe=[control, "--addr", address, "debug", "workers"],
        home=home,
    ):
        yield Buildkitd(control, home)


def _layers(archive: Path) -> list[str]:
    """Read the layers' digests, uncompressed, from an image in an OCI archive."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> dict[str, object]:
            member = tar.extractfile(name)
            assert member is not None, name
            document: dict[str, object] = json.load(member)
            return document

        def follow(descriptor: object) -> dict[str, object]:
            assert isinstance(descriptor, dict)
            return read(f"blobs/{str(descriptor['digest']).replace(':', '/')}")

        entries = read("index.json")["manifests"]
        assert isinstance(entries, list)
        root = follow(follow(entries[0])["config"])["rootfs"]
        assert isinstance(root, dict)
        return list(root["diff_ids"])
