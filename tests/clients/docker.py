"""dockerd: plain pulls, and builds with both builders."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roadstead.oci.digest import Digest
from tests.clients.drivers import REPOSITORY, Client
from tests.support import sandbox
from tests.support.images import Image

# As a user types it; Docker adds docker.io/library/.
_SHORT_NAME = REPOSITORY.removeprefix("library/")


@dataclass(frozen=True, slots=True)
class Docker:
    """A running dockerd."""

    program: str
    home: Path

    def pull(self, tag: str) -> str:
        """Pull; return the image's id."""
        return self.fetch(f"{_SHORT_NAME}:{tag}")

    def fetch(self, reference: str) -> str:
        """Pull; return the image's id."""
        self("pull", reference)
        return self("image", "inspect", "--format", "{{.Id}}", reference).strip()

    def expected(self, image: Image) -> str:
        """Return the digest of the config, which is the id."""
        return str(image.native.config)

    def fetched_blobs(self, image: Image) -> frozenset[Digest]:
        """Return this platform's blobs."""
        return image.native.blobs

    def forget(self, tag: str) -> None:
        """Remove the only image."""
        self.drop(f"{_SHORT_NAME}:{tag}")

    def drop(self, reference: str) -> None:
        """Remove the only image."""
        self("image", "rm", reference)
        assert self("image", "ls", "--all", "--quiet") == ""

    def __call__(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run the docker command; return its output."""
        return sandbox.run(*self.command(*arguments), home=self.home, environment=environment)

    def attempt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the docker command, which may fail."""
        return sandbox.attempt(*self.command(*arguments), home=self.home)

    def command(self, *arguments: str) -> list[str]:
        """Write the command line."""
        return [self.program, "--host", f"unix://{self.home}/socket", *arguments]


@dataclass(frozen=True, slots=True)
class DockerBuild:
    """``docker build`` of a file whose base is the image; BuildKit, or the classic builder."""

    docker: Docker
    buildkit: bool

    def pull(self, tag: str) -> list[str]:
        """Build; return the layers that the result has below its own one."""
        return self.fetch(f"{_SHORT_NAME}:{tag}")

    def fetch(self, reference: str) -> list[str]:
        """Build; return the layers that the result has below its own one."""
        context = self.docker.home / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(f"FROM {reference}\nCOPY Dockerfile /\n")
        self.docker(
            *("build", "--no-cache", "--tag", "built", str(context)),
            environment={"DOCKER_BUILDKIT": str(int(self.buildkit))},
        )
        layers: list[str] = json.loads(
            self.docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", "built")
        )
        return layers[:-1]

    def expected(self, image: Image) -> list[str]:
        """Return the digests of the uncompressed layers."""
        return list(image.native.diff_ids)

    def fetched_blobs(self, image: Image) -> frozenset[Digest]:
        """Return this platform's blobs."""
        return image.native.blobs

    def forget(self, tag: str) -> None:
        """Remove the result, the base image and the builder's cache."""
        self.drop(f"{_SHORT_NAME}:{tag}")

    def drop(self, reference: str) -> None:
        """Remove the result, the base image and the builder's cache."""
        base = () if self.buildkit else (reference,)
        self.docker("image", "rm", "built", *base)
        self.docker("builder", "prune", "--all", "--force")
        assert self.docker("image", "ls", "--all", "--quiet") == ""


@contextmanager
def dockerd(mirror_host: str, home: Path) -> Iterator[Docker]:
    """Start dockerd with the mirror in its configuration file."""
    sandbox.require("dockerd", "containerd", "docker")
    daemon_json = home / "daemon.json"
    daemon_json.write_text(json.dumps({"registry-mirrors": [f"http://{mirror_host}"]}))
    docker = Docker(_matching_cli(), home)
    with sandbox.daemon(
        [
            *("dockerd", "--config-file", daemon_json, "--host", f"unix://{home}/socket"),
            *("--data-root", home / "data", "--exec-root", home / "exec"),
            *("--pidfile", home / "pid", "--storage-driver", "vfs"),
            *("--bridge=none", "--iptables=false", "--ip-forward=false"),
        ],
        probe=docker.command("info"),
        home=home,
    ):
        yield docker


@contextmanager
def buildkit(mirror_host: str, home: Path) -> Iterator[Client]:
    """Start dockerd to build with BuildKit."""
    with dockerd(mirror_host, home) as docker:
        yield DockerBuild(docker, buildkit=True)


@contextmanager
def classic_builder(mirror_host: str, home: Path) -> Iterator[Client]:
    """Start dockerd to build without BuildKit."""
    with dockerd(mirror_host, home) as docker:
        yield DockerBuild(docker, buildkit=False)


def _matching_cli() -> str:
    """Find the command line that came with dockerd: newer ones need a plug-in for BuildKit."""
    wanted = _version("dockerd")
    found = [path for folder in os.get_exec_path() if (path := shutil.which("docker", path=folder))]
    return next((program for program in found if _version(program) == wanted), found[0])


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    # Docker version 20.10.24+dfsg1, build 297e128
    return done.stdout.split()[2]
