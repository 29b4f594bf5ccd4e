"""``roadstead serve``: run the mirror."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from roadstead import runtime
from roadstead.config.load import BUILT_IN_SOURCE, find_configuration, load
from roadstead.errors import ConfigError

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
    """Run the mirror until SIGTERM or SIGINT.

    Exit status: 0 after a graceful stop, 1 for a configuration or an address that cannot be
    used, as distribution.
    """
    raise typer.Exit(run(configuration))


def run(configuration: str | None) -> int:
    """Load the configuration and serve; return the exit status."""
    path = find_configuration(configuration, os.environ)
    try:
        asyncio.run(runtime.serve(load(path, os.environ)))
    except ConfigError as error:
        _say(f"configuration error in {path or BUILT_IN_SOURCE} and the environment:")
        for problem in error.problems:
            _say(f"  {problem}")
        _say("roadstead config check prints the effective configuration.")
        return 1
    except OSError as error:
        _say(f"cannot start: {error}")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
