"""Lines to a descriptor."""

import asyncio
import os
import select
from pathlib import Path

from roadstead.telemetry.linewriter import LineWriter


def test_lines_arrive_at_once(tmp_path: Path) -> None:
    """A line is in the file when write returns, whatever characters are in it."""
    path = tmp_path / "log"
    with path.open("w", encoding="ascii") as stream:
        LineWriter(stream).write("a µ \udc80")
        assert path.read_bytes() == "a µ \\udc80\n".encode()


def test_reader_that_left_does_no_harm() -> None:
    """Writing to a pipe without a reader raises nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        LineWriter(stream).write("nobody reads this")


def test_missing_stream_is_never_written_to() -> None:
    """A process without standard output writes to no descriptor at all."""
    LineWriter(None).write("nobody reads this")


async def test_lines_that_can_wait_arrive_soon_and_in_order() -> None:
    """They are written together, before any line that cannot wait."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as read, os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        writer.write_soon("first")
        writer.write_soon("second")
        writer.write("third")
        assert read.read(100) == b"first\nsecond\nthird\n"

        writer.write_soon("fourth")
        assert await asyncio.to_thread(read.read, 100) == b"fourth\n"


async def test_no_write_to_a_pipe_can_be_torn() -> None:
    """Lines go out in pieces that the kernel writes as one, and none is cut in two."""
    # Of packets each read gives what one write gave.
    reading, writing = os.pipe2(os.O_DIRECT)
    lines = [f"{number:0700}" for number in range(20)]
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        for line in lines:
            writer.write_soon(line)
        writer.flush()
    pieces = []
    with os.fdopen(reading, "rb", buffering=0) as read:
        while piece := read.read(65536):
            pieces.append(piece)

    assert b"".join(pieces) == "".join(f"{line}\n" for line in lines).encode()
    assert len(pieces) < len(lines)
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
