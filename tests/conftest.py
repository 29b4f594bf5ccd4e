"""For every test: no way out of this machine, and figures printed behind the results."""

import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.support import network

network.install()

# A time limit on one example says more about the load of the machine than about the code. To
# explain a failure takes minutes before Python 3.12: each line is traced. Continuous integration
# tries the same examples each time (see .ci/run), everybody else new ones.
settings.register_profile(
    "roadstead",
    deadline=None,
    derandomize="ROADSTEAD_REPEATABLE" in os.environ,
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
settings.load_profile("roadstead")


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
        terminalreporter.section("figures")
        for line in figures.lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Return the place for figures."""
    return pytestconfig.stash[_FIGURES]


@pytest.fixture(autouse=True)
def _loopback_only() -> Iterator[None]:
    """Fail a test that tried to leave the loopback interface, also if nobody noticed."""
    yield
    refused = network.take_refused()
    assert not refused, f"a test must not leave the loopback interface: {refused}"


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 256 KiB; skips where none may be mounted."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted: {error}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    """Undo that a started mirror takes over the logging of its process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
