"""An image in a registry that plays Docker Hub, a mirror of it, and the figures at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.drivers import REPOSITORY
from tests.support import sandbox
from tests.support.images import Image, write_image
from tests.support.origin import Origin, start_origin
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead


@dataclass(frozen=True, slots=True)
class Library:
    """An image, and the registry volume that holds it as ``library/app``."""

    image: Image
    volume: Path


@dataclass(frozen=True, slots=True)
class Line:
    """A mirror in front of its origin."""

    image: Image
    origin: Origin
    mirror: RoadsteadProcess


@dataclass(slots=True)
class Figures:
    """What was measured, for the terminal."""

    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Add a line."""
        self.lines.append(text)


_FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the place for figures."""
    config.stash[_FIGURES] = Figures()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    figures = terminalreporter.config.stash[_FIGURES]
    if figures.lines:
        terminalreporter.section("real clients")
        for line in figures.lines:
            terminalreporter.write_line(line)


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """Return the place for figures."""
    return pytestconfig.stash[_FIGURES]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Push an image of two platforms to a registry, through its token server."""
    sandbox.require("skopeo")
    directory = tmp_path_factory.mktemp("library")
    image = write_image(directory / "layout", tag="1.0")
    with start_origin(directory / "volume") as origin:
        origin.push(image, REPOSITORY)
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
