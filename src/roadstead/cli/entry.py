"""The installed entry points: a plain start imports no command line library.

Imports make many objects and no garbage, so nothing is collected until the mirror serves; that is
a sixth of the time of a start.
"""

import gc
import os
import sys


def main() -> None:
    """Run the ``roadstead`` command line."""
    _begin()
    match sys.argv[1:]:
        case ["serve"]:
            _serve(None)
        case ["serve", file] if not file.startswith("-"):
            _serve(file)
        case _:
            from roadstead.cli.main import app  # noqa: PLC0415 - it knows all commands

            gc.enable()
            app()


def registry() -> None:
    """Run the ``registry`` command line."""
    _begin()
    from roadstead.cli.registry import run  # noqa: PLC0415 - behind _begin

    sys.exit(run(sys.argv[0], sys.argv[1:]))


def _begin() -> None:
    gc.disable()
    from roadstead.cli import privileges  # noqa: PLC0415 - behind gc.disable

    privileges.drop(sys.argv[1:], os.environ)


def _serve(file: str | None) -> None:
    from roadstead.cli.serving import run  # noqa: PLC0415 - the other commands serve nothing

    sys.exit(run(file))
