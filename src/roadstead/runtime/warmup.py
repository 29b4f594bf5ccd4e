"""What a start leaves out: what the first cold pull would wait for, and how a server runs."""

import asyncio
import gc
import sys
from typing import Final

from roadstead.upstream.tlscontext import default_client_tls

# The first answers come first.
_DELAY_SECONDS: Final = 0.2
# For the default of 5 ms a thread that fetches may keep the event loop waiting each time that it
# wants to go on. With this a small request beside a cold blob waited 15 ms at worst and not 80.
_SWITCH_SECONDS: Final = 0.0005


def settle() -> None:
    """Go over from starting to serving.

    Garbage is collected from now on, but not looked for each time in what the start has made; and
    the event loop gets its turn soon, whatever other threads do.
    """
    gc.freeze()
    gc.enable()
    sys.setswitchinterval(_SWITCH_SECONDS)


def warm_up_soon() -> asyncio.TimerHandle:
    """Import the HTTP client for blobs and read the system's authorities, in a thread."""
    loop = asyncio.get_running_loop()
    return loop.call_later(_DELAY_SECONDS, loop.run_in_executor, None, _warm_up)


def _warm_up() -> None:
    from roadstead.upstream import transfer  # noqa: F401, PLC0415 - see above

    default_client_tls()
