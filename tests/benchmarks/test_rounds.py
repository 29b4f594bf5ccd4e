"""A run of scenarios and peers of which some cannot be measured."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.__main__ import possible, rounds
from benchmarks.client import LoadFailedError
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer
from benchmarks.peers.distribution import DOCKER_REGISTRY, ROADSTEAD
from benchmarks.results import Results
from benchmarks.scenarios.base import Column, Measured


@dataclass(frozen=True, slots=True)
class OneFails:
    """A scenario that one peer does not stand."""

    name: str = "one"
    title: str = "One fails"
    peers: tuple[Peer, ...] = (DOCKER_REGISTRY, ROADSTEAD)
    references: tuple[Peer, ...] = ()
    columns: tuple[Column, ...] = ()
    needs: tuple[str, ...] = ()
    max_rounds: int = 1

    def measure(self, _lab: Lab, peer: Peer) -> Measured:
        """See Scenario."""
        if peer is DOCKER_REGISTRY:
            message = "cut short"
            raise LoadFailedError(message)
        yield "case", {"wall": 1.0}


def test_who_fails_is_named_and_the_others_are_measured(tmp_path: Path) -> None:
    """One bad answer costs one round of one peer, and not the run."""
    results = Results(started="now", machine={}, versions={}, records=[])
    scenario = OneFails()
    found = list(rounds(Lab(tmp_path), scenario, scenario.peers, 3, results))

    assert [record.peer for record in found] == ["roadstead"]
    assert results.left_out == {"one, docker-registry, round 0": "cut short"}


def test_scenario_without_its_programs_is_named() -> None:
    """And does not fail in the middle of the run."""
    left_out: dict[str, str] = {}
    scenarios = [OneFails(needs=("no-such-program",)), OneFails()]

    assert list(possible(scenarios, left_out)) == scenarios[1:]
    assert left_out == {"one": "no-such-program is not installed"}
