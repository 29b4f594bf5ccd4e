"""Figures: what tests measured, printed behind their results."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings

# A time limit on one example says more about the load of the machine than about the code.
settings.register_profile("roadstead", deadline=None)
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


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """Return the place for figures."""
    return pytestconfig.stash[_FIGURES]
