"""``python -m benchmarks``: run scenarios, write raw results and the report."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from subprocess import SubprocessError

from benchmarks.client import LoadFailedError
from benchmarks.lab import Lab
from benchmarks.peers.base import Peer, is_installed
from benchmarks.peers.gomodules import build, go_program
from benchmarks.peers.nginx import NGINX_ORIGIN
from benchmarks.plots import draw
from benchmarks.process import StartFailedError
from benchmarks.report import render
from benchmarks.results import Record, Results, describe_machine
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.base import Scenario

_RESULTS = Path(__file__).parent / "results"
_TMPFS = Path("/dev/shm")  # noqa: S108 - directories in it are made by mkdtemp
# A full run then takes about 23 minutes on two quiet processors.
_DEFAULT_ROUNDS = 2


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    options = _options()
    if not is_installed(NGINX_ORIGIN):
        print("nginx is needed as the upstream: install nginx-light")
        return 1
    chosen = [item for item in SCENARIOS if not options.scenario or item.name in options.scenario]
    left_out: dict[str, str] = {}
    chosen = list(possible(chosen, left_out))
    versions = dict(_installed(chosen, options.peer, left_out))
    results, file = _begin(options.resume, versions)
    results.left_out.update(left_out)
    with Lab(options.directory) as lab:
        for scenario in chosen:
            peers = [peer for peer in scenario.peers if peer.name in versions]
            for record in rounds(lab, scenario, peers, options.rounds, results):
                print(_line(record), flush=True)
                results.records.append(record)
                results.write(file)
    for name, why in results.left_out.items():
        print(f"left out: {name}, because {why}")
    results.write(file)
    report = render(results, SCENARIOS, draw(results, SCENARIOS, file.with_suffix("")))
    file.with_suffix(".md").write_text(report, encoding="utf-8")
    print(f"\n{report}\nWritten to {file.with_suffix('')}.json and .md")
    return 0


def _begin(resumed: Path | None, versions: Mapping[str, str]) -> tuple[Results, Path]:
    """Return the results to add to, and their file."""
    if resumed is not None:
        return Results.read(resumed), resumed
    now = datetime.now(UTC)
    _RESULTS.mkdir(exist_ok=True)
    results = Results(
        started=now.strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(),
        versions=versions,
        records=[],
    )
    return results, _RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"


def rounds(
    lab: Lab, scenario: Scenario, peers: Sequence[Peer], count: int, results: Results
) -> Iterator[Record]:
    """Measure round by round, every peer in each, so that a disturbance meets them all.

    What ``results`` has already is not measured again; a round that was broken off is.
    """
    for number in range(min(count, scenario.max_rounds)):
        for peer in peers:
            if results.has(scenario.name, peer.name, number):
                continue
            results.forget(scenario.name, peer.name, number)
            name = f"{scenario.name}, {peer.name}, round {number}"
            results.left_out.pop(name, None)
            try:
                yield from _round(lab, scenario, peer, number)
            except (LoadFailedError, StartFailedError, OSError, SubprocessError) as error:
                # The others are worth measuring all the same.
                results.left_out[name] = str(error) or type(error).__name__
                continue
            results.complete(scenario.name, peer.name, number)


def _round(lab: Lab, scenario: Scenario, peer: Peer, number: int) -> Iterator[Record]:
    load = os.getloadavg()[0]
    for case, values in scenario.measure(lab, peer):
        yield Record(
            scenario=scenario.name,
            case=case,
            peer=peer.name,
            round=number,
            load=load,
            values=values,
        )
        load = os.getloadavg()[0]


def possible(scenarios: Sequence[Scenario], left_out: dict[str, str]) -> Iterator[Scenario]:
    """Choose the scenarios whose programs are installed; the others are named in ``left_out``."""
    for scenario in scenarios:
        missing = [program for program in scenario.needs if shutil.which(program) is None]
        if missing:
            left_out[scenario.name] = f"{', '.join(missing)} is not installed"
        else:
            yield scenario


def _installed(
    scenarios: Sequence[Scenario], wanted: Sequence[str], left_out: dict[str, str]
) -> Iterator[tuple[str, str]]:
    for peer in {peer.name: peer for scenario in scenarios for peer in scenario.peers}.values():
        if wanted and peer.name not in wanted:
            continue
        name = Path(peer.program).name
        why = build(name) if peer.program == go_program(name) else None
        if is_installed(peer):
            yield peer.name, peer.version()
        else:
            left_out[peer.name] = why or f"{peer.program} is not installed"


def _line(record: Record) -> str:
    values = ", ".join(f"{key} {value:.4g}" for key, value in record.values.items())
    return f"{record.scenario}, {record.case}, {record.peer}, #{record.round}: {values}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenario", nargs="*", help=f"of: {', '.join(names)} (default: all)")
    parser.add_argument("--rounds", type=int, default=_DEFAULT_ROUNDS)
    parser.add_argument("--peer", action="append", default=[], help="only this peer (repeatable)")
    parser.add_argument("--resume", type=Path, help="add to the results of an earlier run")
    parser.add_argument(
        "--directory",
        type=Path,
        default=_TMPFS if _TMPFS.is_dir() else Path(tempfile.gettempdir()),
        help="where contents and stores go (default: a tmpfs)",
    )
    options = parser.parse_args()
    unknown = set(options.scenario) - set(names)
    if unknown:
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
