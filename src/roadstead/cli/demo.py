"""``roadstead demo``: see in a few seconds what a mirror does."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roadstead.cli.sizes import written
from roadstead.demo import CLIENTS, PULL_LIMIT, Report, Step, perform


def demo(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead.")
    ] = False,
) -> None:
    """Show in a few seconds what a mirror does: no network, no container engine.

    A registry with Docker Hub's manners and limit, a mirror of it, and clients run in this
    process. Exit status: 0 if all was as promised, 1 if not.
    """
    progress = Console(stderr=True)
    try:
        with progress.status("") as status:
            report = asyncio.run(perform(lambda text: status.update(f"{text} ...")))
    except OSError as error:
        typer.echo(f"cannot start: {error}", err=True)
        raise typer.Exit(code=1) from None
    if as_json:
        typer.echo(json.dumps(_document(report), indent=2))
    else:
        show(report)
    raise typer.Exit(code=0 if report.is_kept else 1)


def _document(report: Report) -> dict[str, object]:
    return {
        "kept": report.is_kept,
        "steps": [asdict(step) for step in report.steps],
        "pull_limit": PULL_LIMIT,
        "pulls": report.pulls,
        "pulls_without_mirror": report.pulls_without,
    }


def show(report: Report) -> None:
    """Print the table, what it shows, and the verdict."""
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("step", no_wrap=True)
    for title in ("requests\nmirror", "requests\nupstream", "bytes\nupstream", "bytes\nclients"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    notes = Table.grid(padding=(0, 2))
    for step in report.steps:
        table.add_row(*_cells(step))
        notes.add_row(Text(step.name, style="bold"), step.explanation)
        if step.broken:
            notes.add_row("", Text(f"Not as promised: {step.broken}", style="bold red"))
    console.print(table, Text(), notes, Text(), sep="\n")
    console.print(Text(_conclusion(report), style="green" if report.is_kept else "bold red"))


def _cells(step: Step) -> list[Text]:
    bad = bool(step.broken)
    return [
        Text(step.name, style="bold"),
        Text(str(step.requests)),
        Text(str(step.upstream_requests)),
        Text(written(step.upstream_bytes)),
        Text(written(step.client_bytes)),
        Text(f"{step.seconds:.2f}"),
        Text("broken", style="bold red") if bad else Text(step.outcome, style="green"),
    ]


def _conclusion(report: Report) -> str:
    if not report.is_kept:
        return "Something was not as promised. Please report it with this output."
    return (
        f"{CLIENTS + 3} pulls took {report.pulls} of the {PULL_LIMIT} pulls that the registry "
        f"grants; without a mirror\nthey would have taken {report.pulls_without}, "
        "and one of them would have found nobody at home."
    )
