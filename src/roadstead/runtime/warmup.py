"""What a start leaves out and the first cold pull would wait for."""

import asyncio
import gc
from typing import Final

from roadstead.upstream.tlscontext import default_client_tls

# The first answers come first.
_DELAY_SECONDS: Final = 0.2


def settle() -> None:
    """Collect garbage from now on, but do not look through what a start has made each time."""
    gc.freeze()
    gc.enable()


def warm_up_soon() -> asyncio.TimerHandle:
    """Import the HTTP client for blobs and read the system's authorities, in a thread."""
    loop = asyncio.get_running_loop()
    return loop.call_later(_DELAY_SECONDS, loop.run_in_executor, None, _warm_up)


def _warm_up() -> None:
    from roadstead.upstream import transfer  # noqa: F401, PLC0415 - see above

    default_client_tls()
