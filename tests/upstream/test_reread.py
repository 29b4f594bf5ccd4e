"""A changed file is read again, and a broken one costs nothing but a warning."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from roadstead.upstream.reread import RereadFile
from tests.support.clock import Clock

NAMES = (".dockerconfigjson", "config.json")


class Reader:
    """Parses by decoding; counts how often, and refuses what begins with "bad"."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock(now=0)
        self.parsed = 0
        self.file = RereadFile(path, self._parse, names=NAMES, clock=self.clock)

    def _parse(self, content: bytes) -> str:
        self.parsed += 1
        text = content.decode()
        if text.startswith("bad"):
            message = "makes no sense"
            raise ValueError(message)
        return text

    async def after(self, seconds: float) -> str:
        """Let time pass and ask."""
        self.clock.advance(seconds)
        return await self.file.content()


async def test_a_file_is_looked_at_once_a_second_and_read_once_a_change(tmp_path: Path) -> None:
    """Between two looks nothing is noticed; without a change nothing is parsed again."""
    path = tmp_path / "file"
    path.write_text("one")
    reader = Reader(path)

    assert await reader.after(0) == "one"
    path.write_text("two!")
    assert await reader.after(0.9) == "one"
    assert await reader.after(0.1) == "two!"
    assert [await reader.after(5) for _ in range(3)] == ["two!"] * 3
    assert reader.parsed == 2


async def test_each_way_to_change_a_file_is_noticed(tmp_path: Path) -> None:
    """The time, the size and the file itself tell, whichever of them changes."""
    path = tmp_path / "file"
    path.write_text("one")
    reader = Reader(path)
    assert await reader.after(0) == "one"

    status = path.stat()
    path.write_text("two")
    os.utime(path, ns=(0, status.st_mtime_ns + 1))
    assert await reader.after(1) == "two"

    other = tmp_path / "other"
    other.write_text("six")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)
    assert await reader.after(1) == "six"

    status = path.stat()
    path.write_text("longer")
    os.utime(path, ns=(0, status.st_mtime_ns))
    assert await reader.after(1) == "longer"


async def test_a_mounted_secret_is_swapped(tmp_path: Path) -> None:
    """Kubernetes points the link ..data to another directory, all at once."""
    for number, text in enumerate(("one", "two")):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / ".dockerconfigjson").write_text(text)
        os.utime(folder / ".dockerconfigjson", ns=(0, 0))
    data = tmp_path / "..data"
    data.symlink_to("..0")
    mounted = tmp_path / ".dockerconfigjson"
    mounted.symlink_to("..data/.dockerconfigjson")
    readers = [Reader(mounted), Reader(tmp_path)]
    assert [await reader.after(0) for reader in readers] == ["one", "one"]

    fresh = tmp_path / "..data_tmp"
    fresh.symlink_to("..1")
    fresh.replace(data)

    assert [await reader.after(1) for reader in readers] == ["two", "two"]


async def test_a_directory_is_searched_in_order(tmp_path: Path) -> None:
    """The first of the names that is there is meant, also if it comes later."""
    (tmp_path / "config.json").write_text("second")
    reader = Reader(tmp_path)
    assert await reader.after(0) == "second"

    (tmp_path / ".dockerconfigjson").write_text("first")
    assert await reader.after(1) == "first"


async def test_the_last_good_content_outlives_what_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken, gone, unreadable: each is told once, and what was good is used on."""
    path = tmp_path / "file"
    path.write_text("good")
    reader = Reader(path)
    assert await reader.after(0) == "good"

    path.write_text("bad pl4nted")
    assert [await reader.after(1) for _ in range(3)] == ["good"] * 3
    assert reader.parsed == 2
    path.unlink()
    assert [await reader.after(1) for _ in range(3)] == ["good"] * 3
    path.write_bytes(b"x" * 1_048_577)
    assert await reader.after(1) == "good"
    path.unlink()
    os.mkfifo(path)
    assert await reader.after(1) == "good"

    reasons = ["makes no sense", "No such file", "larger than 1048576", "no ordinary file"]
    assert len(caplog.messages) == len(reasons)
    for reason, message in zip(reasons, caplog.messages, strict=True):
        assert message.startswith(f"{path} ")
        assert reason in message
        assert message.endswith("; its last good content stays in use")
        assert "pl4nted" not in message


async def test_a_file_that_is_good_again_is_used_and_watched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a repair the next breakage is told again."""
    path = tmp_path / "file"
    reader = Reader(path)
    result = ""
    for text in ("bad", "good", "bad"):
        path.unlink(missing_ok=True)
        path.write_text(text)
        try:
            result = await reader.after(1)
        except ValueError as error:
            result = str(error)

    assert result == "good"
    assert [message.rpartition("; ")[2] for message in caplog.messages] == [
        "nothing of it is in use",
        "its last good content stays in use",
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_text("bad"), "makes no sense"),
        (lambda path: path.mkdir(), r"holds none of \.dockerconfigjson, config\.json"),
    ],
)
async def test_without_any_good_content_there_is_none(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    """The error names file and reason, each time, until the file is good."""
    path = tmp_path / "file"
    make(path)
    reader = Reader(path)

    for _ in range(2):
        with pytest.raises(ValueError, match=rf"file {reason}|file cannot be read: it {reason}"):
            await reader.after(1)
