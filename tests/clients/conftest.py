"""An image in a registry that plays Docker Hub, and a mirror of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.drivers import REPOSITORY
from tests.support import sandbox
from tests.support.images import Image, write_image
from tests.support.origin import Origin, start_origin
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead

TAGS = ("1.0", "latest")


@dataclass(frozen=True, slots=True)
class Library:
    """An image, and the registry volume that holds it as ``library/app``, under both tags."""

    image: Image
    volume: Path


@dataclass(frozen=True, slots=True)
class Line:
    """A mirror in front of its origin."""

    image: Image
    origin: Origin
    mirror: RoadsteadProcess


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Push an image of two platforms to a registry, through its token server."""
    sandbox.require("skopeo")
    directory = tmp_path_factory.mktemp("library")
    image = write_image(directory / "layout", tag=TAGS[0])
    with start_origin(directory / "volume") as origin:
        for tag in TAGS:
            origin.push(image, REPOSITORY, tag)
    return Library(image, directory / "volume")


@pytest.fixture
def line(library: Library, tmp_path: Path) -> Iterator[Line]:
    """Start the registry and an empty mirror of it, which has the credentials."""
    with start_origin(library.volume) as origin:
        configuration = {
            "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
            # Ask for each tag each time, so that a tag without its registry is a stale one.
            "proxy": {**origin.proxy_settings(), "tagttl": "0s"},
        }
        with start_roadstead(configuration) as mirror:
            yield Line(library.image, origin, mirror)


@pytest.fixture
def make_home() -> Iterator[Callable[[], Path]]:
    """Make directories with paths that are short enough for sockets."""
    with ExitStack() as stack:
        yield lambda: Path(stack.enter_context(TemporaryDirectory(prefix="rs-")))


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Measure the seconds that the context lasts."""
    begun = time.perf_counter()
    ended: list[float] = []
    yield lambda: ended[0] - begun
    ended.append(time.perf_counter())
