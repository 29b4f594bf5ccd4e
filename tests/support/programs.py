"""Where programs are: on the path, or where scripts/build-from-go puts its own."""

import shutil
from pathlib import Path

BUILT = Path.home() / ".cache/roadstead/bin"


def find_program(name: str) -> str | None:
    """Return the path of a program; None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=str(BUILT))
