"""Whole lines to a file descriptor, one system call each, never an error."""

from contextlib import suppress
from os import write
from typing import IO


class LineWriter:
    """Writes lines to standard output or error.

    Straight to the descriptor: lines of several threads do not mix, nothing is lost in a buffer
    when the process is killed, and a reader that went away (EPIPE) is nobody's failure.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        """Write to the descriptor of ``stream``; None discards.

        ``sys.stdout`` is None if the process was started with it closed. Its number may then
        belong to any other file, perhaps to a blob, and must not be written to.
        """
        self._descriptor = None if stream is None else stream.fileno()

    def write(self, line: str) -> None:
        """Write ``line`` and a line feed."""
        if self._descriptor is None:
            return
        content = f"{line}\n".encode(errors="backslashreplace")
        with suppress(OSError):
            write(self._descriptor, content)
