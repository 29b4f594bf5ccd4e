"""Messages between the keeper and one worker: lines of JSON over a pair of sockets.

Either side can *tell* something or *ask* for something. What is told is dealt with in order;
answers come when they are ready. The end of a process is the end of its channel.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

_log = logging.getLogger("roadstead.workers")

# The longest messages are reports of thousands of series.
_LONGEST_BYTES: Final = 64 * 1024 * 1024

Message: TypeAlias = Mapping[str, Any]


class Answering(Protocol):
    """What one side does with the messages of the other."""

    def told(self, what: str, message: Message) -> None:
        """Hear what needs no answer; in order, on the event loop."""

    async def answer(self, what: str, message: Message) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Answer; several questions may be answered at the same time."""


class ChannelClosedError(ConnectionError):
    """The process at the other end is gone."""


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._count = 0
        self._closed = False

    @classmethod
    async def over(cls, own: socket.socket) -> "Channel":
        """Make an end of a connected socket."""
        reader, writer = await asyncio.open_connection(sock=own, limit=_LONGEST_BYTES)
        return cls(reader, writer)

    def tell(self, what: str, **message: object) -> None:
        """Say something; nobody hears it if the other end is gone."""
        if not self._closed:
            self._send({"what": what, **message})

    def write(self, content: bytes) -> None:
        """Send bytes that are no message; before the first one."""
        self._writer.write(content)

    async def ask(self, what: str, **message: object) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Ask for something and wait for the answer.

        Raises:
            ChannelClosedError: the other end is gone.
        """
        if self._closed:
            raise ChannelClosedError
        self._count += 1
        number = self._count
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send({"what": what, "ask": number, **message})
        try:
            return await future
        finally:
            del self._asked[number]

    async def run(self, answering: Answering) -> None:
        """Take messages until the other end closes, or is gone."""
        try:
            with suppress(ConnectionError):
                while line := await self._reader.readline():
                    self._take(json.loads(line), answering)
        finally:
            self.close()
            for task in self._answers:
                task.cancel()
            await asyncio.gather(*self._answers, return_exceptions=True)

    def close(self) -> None:
        """Say nothing more; whoever waits for an answer gets none. Idempotent."""
        self._closed = True
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ChannelClosedError())
        self._writer.close()

    async def drain(self) -> None:
        """Wait until all that was said is on its way."""
        with suppress(ConnectionError):
            await self._writer.drain()

    def _take(self, message: dict[str, Any], answering: Answering) -> None:
        if "answers" in message:
            future = self._asked.get(message["answers"])
            if future is not None and not future.done():
                future.set_result(message["value"])
            return
        what, number = message.pop("what"), message.pop("ask", None)
        if number is None:
            answering.told(what, message)
            return
        task = asyncio.ensure_future(self._answer(answering, what, message, number))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, answering: Answering, what: str, message: Message, number: int) -> None:
        value = None
        try:
            value = await answering.answer(what, message)
        except Exception:  # noqa: BLE001 - the boundary of one question: whoever asked must not wait for ever
            _log.exception("a question between processes failed", extra={"fields": {"what": what}})
        if not self._closed:
            self._send({"answers": number, "value": value})

    def _send(self, message: Mapping[str, object]) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


async def wait_for(answers: Awaitable[Any], seconds: float, default: Any) -> Any:  # noqa: ANN401 - as above
    """Wait for an answer, but not for long."""
    try:
        async with asyncio.timeout(seconds):
            return await answers
    except (TimeoutError, ChannelClosedError):
        return default
