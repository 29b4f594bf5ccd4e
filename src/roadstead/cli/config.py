"""``roadstead config``: look at a configuration without starting anything."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from roadstead.config.compat import KEYS
from roadstead.config.load import Examination, examine, find_configuration
from roadstead.config.notice import Level
from roadstead.config.reference import compatibility_table
from roadstead.config.render import effective, render

app = typer.Typer(
    name="config",
    help="Look at the configuration, without starting anything.",
    no_args_is_help=True,
)

_STYLES = {Level.INFO: "cyan", Level.WARNING: "yellow"}

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Configuration file; found as `serve` finds it if left out."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the effective configuration, secrets masked, and everything that is wrong with it.

    The configuration goes to standard output, notices and errors to standard error. The exit
    code is 0 if the mirror would start with it, 1 if not.
    """
    chosen = find_configuration(None if file is None else str(file), os.environ)
    examination = examine(chosen, os.environ)
    if as_json:
        typer.echo(json.dumps(_document(examination), indent=2))
    else:
        _print(examination)
    raise typer.Exit(code=1 if examination.settings is None else 0)


@app.command()
def keys(*, as_json: JsonOption = False) -> None:
    """List every key of distribution's schema and of ours, and what becomes of it."""
    if as_json:
        rows = [{"path": k.path, "status": k.status, "meaning": k.meaning} for k in KEYS]
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(compatibility_table(), nl=False)


def _document(examination: Examination) -> dict[str, object]:
    settings = examination.settings
    return {
        "source": examination.source,
        "valid": settings is not None,
        "problems": [asdict(problem) for problem in examination.problems],
        "notices": [asdict(notice) for notice in examination.notices],
        "accepted": examination.accepted,
        "configuration": None if settings is None else effective(settings),
    }


def _print(examination: Examination) -> None:
    if examination.settings is not None:
        typer.echo(f"# effective configuration, from {examination.source}")
        typer.echo(render(examination.settings), nl=False)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for notice in examination.notices:
        console.print(Text(f"{notice.level}: {notice}", style=_STYLES[notice.level]))
    if examination.accepted:
        listed = ", ".join(examination.accepted)
        console.print(Text(f"info: without effect on a mirror: {listed}", style="cyan"))
    for problem in examination.problems:
        console.print(Text(f"error: {problem}", style="bold red"))
    if examination.problems:
        console.print(Text(f"{examination.source} cannot be used: {_count(examination)}"))


def _count(examination: Examination) -> str:
    number = len(examination.problems)
    return "1 error" if number == 1 else f"{number} errors"
