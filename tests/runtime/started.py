"""The whole program in this process: from a configuration to listening sockets."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from roadstead.config.load import load
from roadstead.runtime import Running, running
from roadstead.simulator.registry import ScriptedRegistry


@contextlib.asynccontextmanager
async def started(upstream: ScriptedRegistry, root: Path, **environ: str) -> AsyncIterator[Running]:
    """Run a mirror of ``upstream`` over ``root``, on a free port of 127.0.0.1.

    ``environ`` holds further ``REGISTRY_*`` variables over the built-in configuration.
    """
    given = {
        "REGISTRY_PROXY_REMOTEURL": upstream.url,
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root),
        "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
        **environ,
    }
    async with running(load(None, given)) as made:
        yield made


def url_of(made: Running) -> str:
    """Return the address of a mirror without TLS."""
    return f"http://127.0.0.1:{made.port}"


def debug_url_of(made: Running) -> str:
    """Return the address of the debug server."""
    return f"http://127.0.0.1:{made.debug_port}"
