"""Lines to a descriptor."""

import os
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
