"""``roadstead metadata``: the database beside the layout."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roadstead.cli.auditing import audited_command
from roadstead.cli.client import AsJSON
from roadstead.config.load import find_configuration, load
from roadstead.errors import ConfigError, MetadataError

app = typer.Typer(
    name="metadata",
    help="The database that knows who needs what and what was pulled when.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Have commands of its own, even while there is only one."""


@app.command()
def rebuild(
    file: Annotated[
        Path | None,
        typer.Argument(help="Configuration file; found as `serve` finds it if left out."),
    ] = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Compare the database with what lies on the volume, and mend it.

    Safe beside a running mirror, which does the same by itself when it notices a difference:
    this is for changes by hand. Last pulls and pins stay.
    """
    console = Console(stderr=True)
    try:
        settings = load(
            find_configuration(None if file is None else str(file), os.environ), os.environ
        ).settings
        root = Path(settings.storage.filesystem.rootdirectory)
        with audited_command("metadata rebuild", settings.log), _bar(console) as progress:
            task = progress.add_task("rebuilding", total=1.0)
            found = asyncio.run(_rebuild(root, lambda done: progress.update(task, completed=done)))
    except (ConfigError, MetadataError, OSError) as error:
        typer.echo(f"cannot rebuild: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(
        f"{found['repositories']} repositories, {found['manifests']} manifests, "
        f"{found['tags']} tags, {found['layers']} layer links, "
        f"{found['data']} blobs with {decimal(found['held_bytes'])}"
    )


async def _rebuild(root: Path, progress: Callable[[float], None]) -> dict[str, int]:
    # Typer imports every command for each of them; this one's libraries would cost all others.
    from roadstead.metadata.database import MetadataDatabase  # noqa: PLC0415
    from roadstead.storage.layout import Layout  # noqa: PLC0415
    from roadstead.storage.survey import Survey  # noqa: PLC0415

    database = MetadataDatabase(Layout(root).metadata, Survey(root))
    database.start(rebuilding=False)
    try:
        return asdict(await database.rebuild(progress))
    finally:
        await database.aclose()


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
