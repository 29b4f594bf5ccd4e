"""What commands that work on the volume have in common: their options, and how they fail."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from roadstead.config.load import find_configuration, load
from roadstead.config.schema import Settings
from roadstead.errors import RoadsteadError

ConfigurationOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration file; found as `serve` finds it if left out.",
        show_default=False,
    ),
]


@contextmanager
def failing_in_words() -> Iterator[None]:
    """Turn an error that an operator can do something about into words and exit status 1."""
    try:
        yield
    except (RoadsteadError, OSError) as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(1) from error


def load_settings(configuration: str | None) -> Settings:
    """Load the configuration as ``serve`` does.

    Raises:
        ConfigError: it cannot be used.
    """
    return load(find_configuration(configuration, os.environ), os.environ).settings


def byte_progress() -> Progress:
    """Make a progress bar in bytes, with rate and remaining time, for people at a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
