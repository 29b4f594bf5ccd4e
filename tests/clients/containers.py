"""podman, buildah and skopeo: one library, one configuration file."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roadstead.oci.digest import Digest
from tests.clients.drivers import NAME, Client
from tests.support import sandbox
from tests.support.images import Image

_REGISTRIES = """\
unqualified-search-registries = ["docker.io"]

[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "{mirror_host}"
insecure = true
"""
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


@dataclass(frozen=True, slots=True)
class StorageTool:
    """podman or buildah, with image storage of its own."""

    command: tuple[str, ...]
    home: Path

    def pull(self, tag: str) -> str:
        """Pull into the storage; return the image's id."""
        return self.fetch(f"{NAME}:{tag}")

    def fetch(self, reference: str) -> str:
        """Pull into the storage; return the image's id."""
        self._run("pull", "--quiet", reference)
        return self._run("images", "--all", "--no-trunc", "--format", "{{.ID}}").strip()

    def expected(self, image: Image) -> str:
        """Return the digest of the config, which is the id."""
        return str(image.native.config)

    def fetched_blobs(self, image: Image) -> frozenset[Digest]:
        """Return this platform's blobs."""
        return image.native.blobs

    def forget(self, tag: str) -> None:
        """Remove the only image."""
        self.drop(f"{NAME}:{tag}")

    def drop(self, reference: str) -> None:
        """Remove the only image."""
        self._run("rmi", reference)
        assert self._run("images", "--all", "--quiet").strip() == ""

    def _run(self, *arguments: str) -> str:
        return sandbox.run(*self.command, *arguments, home=self.home)


@dataclass(frozen=True, slots=True)
class Skopeo:
    """skopeo copies all platforms into an image layout."""

    home: Path

    def pull(self, tag: str) -> str:
        """Copy; return the digest of the index in the layout."""
        target = f"oci:{self._layout}:{tag}"
        sandbox.run(
            *("skopeo", "copy", "--quiet", "--all", f"docker://{NAME}:{tag}", target),
            home=self.home,
        )
        document = json.loads((self._layout / "index.json").read_text())
        digest: str = document["manifests"][0]["digest"]
        return digest

    def expected(self, image: Image) -> str:
        """Return the digest of the index, which covers everything."""
        return str(image.index)

    def fetched_blobs(self, image: Image) -> frozenset[Digest]:
        """Return the blobs of all platforms."""
        return image.blobs

    def forget(self, tag: str) -> None:
        """Remove the layout."""
        assert (self._layout / "index.json").read_text().count(f'"{tag}"') == 1
        shutil.rmtree(self._layout)

    @property
    def _layout(self) -> Path:
        return self.home / "copy"


def write_configuration(mirror_host: str, home: Path) -> None:
    """Name the mirror where a user without privileges does."""
    write_registries(_REGISTRIES.format(mirror_host=mirror_host), home)


def write_registries(text: str, home: Path) -> None:
    """Write ``registries.conf``, and a policy that trusts every image."""
    directory = home / ".config/containers"
    directory.mkdir(parents=True)
    (directory / "registries.conf").write_text(text)
    (directory / "policy.json").write_text(json.dumps(_POLICY))


@contextmanager
def podman(mirror_host: str, home: Path) -> Iterator[Client]:
    """Set up podman."""
    write_configuration(mirror_host, home)
    yield podman_at(home)


def podman_at(home: Path) -> StorageTool:
    """Give podman with all its files in ``home``, where its configuration is."""
    sandbox.require("podman")
    options = (
        *("--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "vfs"),
        *("--tmpdir", f"{home}/state", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
    )
    return StorageTool(("podman", *options), home)


@contextmanager
def buildah(mirror_host: str, home: Path) -> Iterator[Client]:
    """Set up buildah."""
    options = ("--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "vfs")
    sandbox.require("buildah")
    write_configuration(mirror_host, home)
    yield StorageTool(("buildah", *options), home)


@contextmanager
def skopeo(mirror_host: str, home: Path) -> Iterator[Client]:
    """Set up skopeo."""
    sandbox.require("skopeo")
    write_configuration(mirror_host, home)
    yield Skopeo(home)
