"""Bars of what is compared, as SVG; without matplotlib (group bench) there are none."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.results import Results, unique
from benchmarks.scenarios.base import Column, Scenario


def draw(
    results: Results, scenarios: Sequence[Scenario], stem: Path
) -> Mapping[str, Sequence[Path]]:
    """Write a file for each compared column of each scenario; return them by scenario."""
    drawn: dict[str, list[Path]] = {}
    if find_spec("matplotlib") is None:
        return drawn
    for scenario in scenarios:
        for column in scenario.columns:
            if column.compared and results.cases(scenario.name):
                path = stem.with_name(f"{stem.name}-{scenario.name}-{column.key}.svg")
                _bars(results, scenario, column, path)
                drawn.setdefault(scenario.name, []).append(path)
    return drawn


def _bars(results: Results, scenario: Scenario, column: Column, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only those who draw have it

    measured = results.cases(scenario.name)
    cases, peers = unique(case for case, _ in measured), unique(peer for _, peer in measured)
    drawing = Figure(figsize=(9, 1 + 0.22 * len(measured)), layout="constrained")
    axes = drawing.subplots()
    height = 0.8 / len(peers)
    for number, peer in enumerate(peers):
        places: list[float] = []
        values: list[float] = []
        spreads: tuple[list[float], list[float]] = ([], [])
        for place, case in enumerate(cases):
            median = results.median(scenario.name, case, peer, column.key)
            spread = results.spread(scenario.name, case, peer, column.key)
            if median is None or spread is None:
                continue
            places.append(place + number * height)
            values.append(median)
            spreads[0].append(median - spread[0])
            spreads[1].append(spread[1] - median)
        axes.barh(places, values, height, xerr=spreads, label=peer, error_kw={"linewidth": 0.7})
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(cases))], cases)
    axes.invert_yaxis()
    axes.set_xlabel(column.title)
    axes.set_title(scenario.title)
    axes.legend()
    drawing.savefig(path)
