"""Whole lines to a file descriptor, never an error."""

import asyncio
from collections import deque
from contextlib import suppress
from os import write
from select import PIPE_BUF
from typing import IO, Final

# Nobody sees the difference, and a busy mirror writes many lines with one system call.
_DELAY_SECONDS: Final = 0.01


class LineWriter:
    """Writes lines to standard output or error.

    Straight to the descriptor, and not more than PIPE_BUF bytes at once unless a line is longer,
    so that lines of several threads and processes do not mix (pipe(7)). A reader that went away
    (EPIPE) is nobody's failure.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        """Write to the descriptor of ``stream``; None discards.

        ``sys.stdout`` is None if the process was started with it closed. Its number may then
        belong to any other file, perhaps to a blob, and must not be written to.
        """
        self._descriptor = None if stream is None else stream.fileno()
        self._waiting: deque[str] = deque()

    def write(self, line: str) -> None:
        """Write ``line`` and a line feed, behind the lines that wait."""
        self._waiting.append(line)
        self.flush()

    def write_soon(self, line: str) -> None:
        """Write ``line`` within 10 ms, together with others; for the event loop only.

        Whoever calls it calls ``flush`` before the loop ends.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_later(_DELAY_SECONDS, self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Write the lines that wait."""
        batch = b""
        for content in self._taken():
            if len(batch) + len(content) > PIPE_BUF:
                self._put(batch)
                batch = b""
            batch += content
        self._put(batch)

    def _taken(self) -> list[bytes]:
        taken = []
        # Another thread may flush at the same time: each line is taken by one of them.
        with suppress(IndexError):
            while True:
                line = self._waiting.popleft()
                taken.append(f"{line}\n".encode(errors="backslashreplace"))
        return taken

    def _put(self, content: bytes) -> None:
        if self._descriptor is None or not content:
            return
        with suppress(OSError):
            write(self._descriptor, content)
