"""Peers that are built from Go modules, into a cache outside the repository."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_MODULES: Final = {
    "registry": "github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
    "zot": "zotregistry.dev/zot/v2/cmd/zot@latest",
}


def go_program(name: str) -> str:
    """Return where the program is, or will be once ``build`` was called."""
    return str(_cache() / name)


def build(name: str) -> str | None:
    """Build a program that is not there; return why there is none, None if there is.

    The first time takes minutes, and the module proxy.
    """
    if shutil.which(go_program(name)):
        return None
    if not shutil.which("go"):
        return "Go is not installed"
    _cache().mkdir(parents=True, exist_ok=True)
    run = subprocess.run(
        ["go", "install", _MODULES[name]],
        env={**os.environ, "GOBIN": str(_cache())},
        capture_output=True,
        text=True,
        check=False,
    )
    last = run.stderr.strip().rpartition("\n")[2]
    return f"it could not be built: {last}" if run.returncode else None


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "roadstead-benchmarks"
