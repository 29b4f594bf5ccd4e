"""What every client's driver offers to the tests."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from roadstead.oci.digest import Digest
from tests.support.images import Image

REPOSITORY = "library/app"
NAME = f"docker.io/{REPOSITORY}"


class Client(Protocol):
    """A client that is configured to reach Docker Hub through the mirror."""

    def pull(self, tag: str) -> object:
        """Pull the image, and say what the client now holds."""

    def expected(self, image: Image) -> object:
        """Tell what ``pull`` has to return for this image."""

    def fetched_blobs(self, image: Image) -> frozenset[Digest]:
        """Tell which blobs this client asks for when it holds nothing."""

    def forget(self, tag: str) -> None:
        """Remove everything that was pulled."""


class Fetcher(Protocol):
    """A client that pulls images of any registry by their full names."""

    def fetch(self, reference: str) -> object:
        """Pull, and say what the client now holds; it held nothing before."""

    def expected(self, image: Image) -> object:
        """Tell what ``fetch`` has to return for this image."""

    def drop(self, reference: str) -> None:
        """Remove everything that was pulled."""


class Starts(Protocol):
    """Makes a client."""

    def __call__(self, mirror_host: str, home: Path) -> AbstractContextManager[Client]:
        """Start what the client needs, with all its files in ``home``; skip if it is missing.

        ``home`` is a short path: daemons make sockets there.
        """
