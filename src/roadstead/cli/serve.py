"""``roadstead serve``: run the mirror."""

from typing import Annotated

import typer

from roadstead.cli.serving import run

Configuration = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        help="Configuration file; without one: REGISTRY_CONFIGURATION_PATH, then the paths of "
        "registry:3 and registry:2, then the built-in default.",
        show_default=False,
    ),
]


def serve(configuration: Configuration = None) -> None:
    """Run the mirror until SIGTERM or SIGINT; SIGHUP loads the configuration anew.

    Exit status: 0 after a graceful stop, 1 for a configuration or an address that cannot be
    used, as distribution.
    """
    raise typer.Exit(run(configuration))
