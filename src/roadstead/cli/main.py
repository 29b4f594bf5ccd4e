"""The ``roadstead`` command with all its subcommands."""

from typing import Annotated

import typer

from roadstead import __version__
from roadstead.cli import (
    config,
    demo,
    explain,
    garbage,
    layouts,
    metadata,
    retention,
    serve,
    simulator,
    status,
    verify,
)

app = typer.Typer(
    name="roadstead",
    help="A read-only mirror and pull-through cache for container registries.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(config.app, name="config")
app.add_typer(metadata.app, name="metadata")
app.command("serve")(serve.serve)
app.command("garbage-collect")(garbage.collect)
app.command("status")(status.status)
app.command("explain")(explain.explain)
app.command("export")(layouts.export_images)
app.command("import")(layouts.import_layouts)
app.add_typer(retention.app, name="retention")
app.command("evict")(retention.evict)
app.command("pin")(retention.pin)
app.command("unpin")(retention.unpin)
app.command("pins")(retention.pins)
app.command("purge")(retention.purge)
app.command("verify")(verify.verify)
app.command("demo")(demo.demo)
app.command("upstream-simulator")(simulator.simulate)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"roadstead {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command("version")
def version() -> None:
    """Print the version."""
    _print_version(wanted=True)
