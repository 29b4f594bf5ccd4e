"""Raw results: one record for each measurement, with what the machine was busy with."""

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The values of one round of one case with one peer; ``load`` is the load average before."""

    scenario: str
    case: str
    peer: str
    round: int
    load: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One run of the harness."""

    started: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    records: list[Record]
    rounds: list[list[str]] = field(default_factory=list)
    """Scenario, peer and number of each round that was measured to its end."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers and scenarios that were not measured, or not to the end, and why."""

    def has(self, scenario: str, peer: str, number: int) -> bool:
        """Say whether a round was measured to its end."""
        return [scenario, peer, str(number)] in self.rounds

    def complete(self, scenario: str, peer: str, number: int) -> None:
        """Note that a round was."""
        self.rounds.append([scenario, peer, str(number)])

    def forget(self, scenario: str, peer: str, number: int) -> None:
        """Drop what there is of a round that was broken off."""
        self.records[:] = [
            record
            for record in self.records
            if (record.scenario, record.peer, record.round) != (scenario, peer, number)
        ]

    def median(self, scenario: str, case: str, peer: str, key: str) -> float | None:
        """Return the median over the rounds; None if it was not measured."""
        found = self._values(scenario, case, peer, key)
        return statistics.median(found) if found else None

    def spread(self, scenario: str, case: str, peer: str, key: str) -> tuple[float, float] | None:
        """Return the least and the greatest value over the rounds."""
        found = self._values(scenario, case, peer, key)
        return (min(found), max(found)) if found else None

    def cases(self, scenario: str) -> list[tuple[str, str]]:
        """Return the pairs of case and peer of a scenario, cases in the order of measurement."""
        of_scenario = [record for record in self.records if record.scenario == scenario]
        cases = unique(record.case for record in of_scenario)
        peers = unique(record.peer for record in of_scenario)
        measured = {(record.case, record.peer) for record in of_scenario}
        return [(case, peer) for case in cases for peer in peers if (case, peer) in measured]

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @staticmethod
    def read(file: Path) -> "Results":
        """Read what ``write`` wrote."""
        document = json.loads(file.read_text(encoding="utf-8"))
        records = [Record(**record) for record in document.pop("records")]
        return Results(**document, records=records)

    def _values(self, scenario: str, case: str, peer: str, key: str) -> list[float]:
        return [
            record.values[key]
            for record in self.records
            if (record.scenario, record.case, record.peer) == (scenario, case, peer)
            and key in record.values
        ]


def unique(names: Iterable[str]) -> list[str]:
    """Return the names without repetitions, in order."""
    return list(dict.fromkeys(names))


def describe_machine() -> dict[str, str]:
    """Say what the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processors": f"{os.cpu_count()} x {model}",
        "memory": f"{pages * page_bytes / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        # On loopback too: with bbr a server does twice the work for each byte that cubic costs.
        "TCP congestion control": _CONGESTION.read_text(encoding="ascii").strip(),
    }
