"""Results as Markdown: medians over the rounds, ranges, and ratios to the reference peers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.results import Results
from benchmarks.scenarios.base import Column, Scenario


def render(
    results: Results,
    scenarios: Sequence[Scenario],
    plots: Mapping[str, Sequence[Path]] | None = None,
) -> str:
    """Return the report of those ``scenarios`` that were measured, with their ``plots``."""
    lines = [f"Measured {results.started}.", ""]
    lines += [f"* {name}: {text}" for name, text in results.machine.items()]
    lines += [f"* {name}: {text}" for name, text in results.versions.items()]
    lines += [f"* left out: {name}, because {why}" for name, why in results.left_out.items()]
    for scenario in scenarios:
        if results.cases(scenario.name):
            lines += ["", *_section(results, scenario)]
            for plot in (plots or {}).get(scenario.name, ()):
                lines += ["", f"![{scenario.title}]({plot.name})"]
    return "\n".join(lines) + "\n"


def _section(results: Results, scenario: Scenario) -> Iterator[str]:
    of_scenario = [record for record in results.records if record.scenario == scenario.name]
    rounds = 1 + max(record.round for record in of_scenario)
    loads = [record.load for record in of_scenario]
    yield f"## {scenario.title}"
    yield ""
    yield (
        f"Rounds: {rounds}; load average before each: {min(loads):.1f} to {max(loads):.1f}. "
        "In brackets: range of the rounds, then the ratio to each reference."
    )
    yield ""
    yield "| case | peer | " + " | ".join(column.title for column in scenario.columns) + " |"
    yield "|---|---|" + "---|" * len(scenario.columns)
    for case, peer in results.cases(scenario.name):
        cells = [_cell(results, scenario, case, peer, column) for column in scenario.columns]
        yield f"| {case} | {peer} | " + " | ".join(cells) + " |"


def _cell(results: Results, scenario: Scenario, case: str, peer: str, column: Column) -> str:
    median = results.median(scenario.name, case, peer, column.key)
    spread = results.spread(scenario.name, case, peer, column.key)
    if median is None or spread is None:
        return "-"
    text = _number(median, column)
    if not column.compared:
        return text
    least, greatest = (_number(value, column) for value in spread)
    ratios = []
    for reference in scenario.references:
        base = results.median(scenario.name, case, reference.name, column.key)
        if base and reference.name != peer:
            ratios.append(f"{median / base:.2f} {reference.name}")
    compared = f" ({', '.join(ratios)})" if ratios and _is_ours(peer) else ""
    return f"{text} [{least}-{greatest}]{compared}"


def _is_ours(peer: str) -> bool:
    return peer.startswith("roadstead")


def _number(value: float, column: Column) -> str:
    return f"{value:,.{column.decimals}f}"
