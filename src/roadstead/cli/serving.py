"""Runs the mirror for both command lines; imports no more than that takes."""

import asyncio
import os
import sys
from pathlib import Path

from roadstead import runtime
from roadstead.config.load import BUILT_IN_SOURCE, find_configuration, load
from roadstead.errors import ConfigError

# Without the directory of the moment, which "-m" would look into first.
_WORKER = (sys.executable, "-P", "-m", "roadstead.cli.worker")


def run(configuration: str | None) -> int:
    """Load the configuration and serve; return the exit status."""
    path = find_configuration(configuration, os.environ)
    try:
        asyncio.run(runtime.serve(lambda: load(path, os.environ), worker=_WORKER))
    except ConfigError as error:
        tell_problems(path, error)
        return 1
    except OSError as error:
        _say(f"cannot start: {error}")
        return 1
    return 0


def tell_problems(path: Path | None, error: ConfigError) -> None:
    """Say on standard error why a configuration cannot be used."""
    _say(f"configuration error in {path or BUILT_IN_SOURCE} and the environment:")
    for problem in error.problems:
        _say(f"  {problem}")
    _say("roadstead config check prints the effective configuration.")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
