"""Peers that are built from Go modules, by scripts/build-from-go and to where it puts them."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).parents[2] / "scripts/build-from-go"
_PROGRAMS: Final = Path("~/.cache/roadstead/bin").expanduser()
_LONGEST_BUILD_SECONDS: Final = 900.0


def go_program(name: str) -> str:
    """Return where the program is, or will be once ``build`` was called."""
    return str(_PROGRAMS / name)


def build(name: str) -> str | None:
    """Build a program that is not there; return why there is none, None if there is.

    The first time takes minutes, and the module proxy.
    """
    program = go_program(name)
    if shutil.which(program):
        return None
    try:
        run = subprocess.run(
            [_SCRIPT, name],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "it was not built in time"
    if shutil.which(program):
        return None
    said = [line for line in run.stdout.splitlines() if not line.startswith(("Building", "\t"))]
    # The first line is Go's, and ends with what the module proxy has answered.
    reason = said[0].rpartition(": ")[2] if said else "nobody said why"
    return f"it could not be built from its Go module: {reason}"
