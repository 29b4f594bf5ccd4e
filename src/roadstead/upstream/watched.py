"""Transfers that report when their endpoint breaks off, so that the next try asks another one."""

from collections.abc import AsyncGenerator, AsyncIterator

from roadstead.errors import UpstreamError
from roadstead.upstream.base import BlobTransfer
from roadstead.upstream.breaker import Permit


class WatchedTransfer:
    """A BlobTransfer that marks its endpoint when it breaks in the middle."""

    def __init__(self, transfer: BlobTransfer, permit: Permit) -> None:
        self._transfer = transfer
        self._permit = permit
        self._aborted = False

    @property
    def start(self) -> int:
        """See BlobTransfer."""
        return self._transfer.start

    @property
    def size_bytes(self) -> int | None:
        """See BlobTransfer."""
        return self._transfer.size_bytes

    def read(self) -> bytes:
        """See BlobTransfer."""
        try:
            return self._transfer.read()
        except UpstreamError as error:
            # A transfer that was ended from here says nothing about the endpoint.
            if error.retryable and not self._aborted:
                self._permit.failed()
            raise

    def close(self) -> None:
        """See BlobTransfer."""
        self._transfer.close()

    def abort(self) -> None:
        """See BlobTransfer."""
        self._aborted = True
        self._transfer.abort()


async def watched(stream: AsyncIterator[bytes], permit: Permit) -> AsyncGenerator[bytes, None]:
    """Pass a stream on; its endpoint is marked when it breaks in the middle."""
    try:
        async for piece in stream:
            yield piece
    except UpstreamError as error:
        if error.retryable:
            permit.failed()
        raise
