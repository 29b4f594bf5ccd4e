"""The ``registry`` command: distribution's command line, for whoever calls it by that name.

``registry serve FILE``, ``registry FILE``, ``registry garbage-collect FILE``, ``registry
--version`` and ``registry help`` work as they do there, so that scripts, units and entry points
need no change.
"""

import gc
import sys
from collections.abc import Sequence

from roadstead import __version__
from roadstead.cli import serving

USAGE = """\
Usage:
  registry serve [FILE]    run the mirror
  registry [FILE]          the same
  registry garbage-collect FILE [--dry-run] [--delete-untagged] [--quiet]
                           remove what nothing needs from the volume
  registry --version       print the version
  registry help            print this text

The roadstead command has more to offer: roadstead --help.
"""


def run(program: str, arguments: Sequence[str]) -> int:
    """Carry out one command line; return the exit status."""
    match list(arguments):
        case ["--version" | "-v"]:
            sys.stdout.write(f"{program} roadstead {__version__}\n")
            return 0
        case ["help" | "--help" | "-h", *_]:
            sys.stdout.write(USAGE)
            return 0
        case ["serve"]:
            return serving.run(None)
        case ["serve", file]:
            return serving.run(file)
        case ["garbage-collect", *rest]:
            from roadstead.cli import garbage  # noqa: PLC0415 - a start imports no Rich

            # The entry point has switched it off for the start of a mirror.
            gc.enable()
            return garbage.run_as_registry(rest)
        case [file] if file.endswith((".yml", ".yaml")):
            return serving.run(file)
        case []:
            sys.stdout.write(USAGE)
            return 0
        case unknown:
            sys.stderr.write(f"unknown command: {' '.join(unknown)}\n\n{USAGE}")
            return 1
