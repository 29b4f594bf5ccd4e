"""containerd, and its own client ctr."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roadstead.oci.digest import Digest
from tests.clients.drivers import NAME, Client
from tests.support import sandbox
from tests.support.images import Image

_CONFIGURATION = """\
version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{home}/socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
"""
_HOSTS = """\
server = "https://registry-1.docker.io"

[host."http://{mirror_host}"]
  capabilities = ["pull", "resolve"]
"""


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd."""

    home: Path

    def pull(self, tag: str) -> frozenset[str]:
        """Pull and unpack; return the digests of all content that containerd then holds."""
        return self.fetch(f"{NAME}:{tag}")

    def fetch(self, reference: str) -> frozenset[str]:
        """Pull and unpack; return the digests of all content that containerd then holds."""
        self._ctr(
            *("images", "pull", "--hosts-dir", f"{self.home}/hosts"),
            *("--snapshotter", "native", reference),
        )
        return self._held()

    def expected(self, image: Image) -> frozenset[str]:
        """Return the index, this platform's manifest, and its blobs."""
        native = image.native
        return frozenset(map(str, {image.index, native.manifest, *native.blobs}))

    def fetched_blobs(self, image: Image) -> frozenset[Digest]:
        """Return this platform's blobs."""
        return image.native.blobs

    def forget(self, tag: str) -> None:
        """Remove the image, and its content at once."""
        self.drop(f"{NAME}:{tag}")

    def drop(self, reference: str) -> None:
        """Remove the image, and its content at once."""
        self._ctr("images", "rm", "--sync", reference)
        assert not self._held()

    def _held(self) -> frozenset[str]:
        return frozenset(self._ctr("content", "ls", "--quiet").split())

    def _ctr(self, *arguments: str) -> str:
        return sandbox.run("ctr", "--address", f"{self.home}/socket", *arguments, home=self.home)


@contextmanager
def containerd(mirror_host: str, home: Path) -> Iterator[Client]:
    """Start containerd with the mirror in a hosts directory."""
    hosts = {"docker.io": _HOSTS.format(mirror_host=mirror_host)}
    with containerd_with(hosts, home) as client:
        yield client


@contextmanager
def containerd_with(hosts: Mapping[str, str], home: Path) -> Iterator[Containerd]:
    """Start containerd with a ``hosts.toml`` of this content for each registry."""
    sandbox.require("containerd", "ctr")
    for registry, text in hosts.items():
        directory = home / "hosts" / registry
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text(text)
    configuration = home / "config.toml"
    configuration.write_text(_CONFIGURATION.format(home=home))
    with sandbox.daemon(
        ["containerd", "--config", configuration],
        probe=["ctr", "--address", f"{home}/socket", "version"],
        home=home,
    ):
        yield Containerd(home)
