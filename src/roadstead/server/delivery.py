"""A held blob on its way to a client, behind a head that is known already."""

import asyncio
from collections.abc import Callable

from roadstead.mirror.content import HeldBlobReader
from roadstead.server.following import Failure, Follower, failure_of, is_encrypted


class Delivery:
    """Sends all of a blob over a connection's transport, as fast as the client takes it.

    It is a Sink; the connection tells it what its transport says of the client.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        head: bytes,
        reader: HeldBlobReader,
        *,
        ended: Callable[["Delivery"], None],
    ) -> None:
        """Begin with ``head``; ``ended`` is called when all was handed over, or never will be.

        ``reader`` is closed then.
        """
        self.transport: asyncio.Transport | None = transport
        self.sent_bytes = 0
        self.failure: Failure | None = None
        self.was_cancelled = False
        self._reader = reader
        self._ended = ended
        self._room: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        # By TLS it goes out together with the first bytes of the body.
        self._head = head if is_encrypted(transport) else b""
        if not self._head:
            transport.write(head)
        self.task = self._loop.create_task(self._run())

    async def write(self, content: bytes) -> None:
        """See Sink."""
        if self.transport is None or self.transport.is_closing():
            message = "connection lost"
            raise ConnectionResetError(message)
        if self._head:
            head, self._head = self._head, b""
            self.transport.writelines((head, content))
        else:
            self.transport.write(content)
        if self._room is not None:
            await self._room

    def pause(self) -> None:
        """Hand over nothing more for now: the client is behind."""
        self._room = self._loop.create_future()

    def resume(self) -> None:
        """Go on."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def lose(self) -> None:
        """Note that the client has left."""
        self.transport = None
        self.resume()

    async def _run(self) -> None:
        try:
            sending = Follower(self._reader, self).send(0, self._reader.size_bytes)
            self.failure = await failure_of(sending)
        except asyncio.CancelledError:
            self.failure = Failure("the server is stopping", "")
            self.was_cancelled = True
            raise
        finally:
            self._reader.close()
            self._ended(self)
