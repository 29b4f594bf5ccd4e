"""The opener of blobs, made when the first blob is wanted: urllib3 is not imported by a start."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roadstead.upstream.transfer import BlobOpener


class LateOpener:
    """Makes a BlobOpener once, in whichever thread asks first."""

    def __init__(self, make: "Callable[[], BlobOpener]") -> None:
        self._make = make
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opener: BlobOpener | None = None

    def start(self) -> None:
        """Take the running event loop as the one where tokens are fetched."""
        self._loop = asyncio.get_running_loop()

    def get(self) -> "BlobOpener":
        """Return it; one that was stopped before it was made refuses everything."""
        with self._lock:
            if self._opener is None:
                self._opener = self._make()
                if self._loop is None:
                    self._opener.stop()
                else:
                    self._opener.start(self._loop)
            return self._opener

    def stop(self) -> None:
        """See BlobOpener."""
        with self._lock:
            self._loop = None
            if self._opener is not None:
                self._opener.stop()

    def close(self) -> None:
        """See BlobOpener."""
        self.stop()
        if self._opener is not None:
            self._opener.close()
