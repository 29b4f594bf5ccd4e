"""The list of platforms that were asked for, across processes and restarts."""

from pathlib import Path

from roadstead.storage.platformlist import PlatformList


def test_what_was_added_is_read_again(tmp_path: Path) -> None:
    """By the next process too."""
    path = tmp_path / "roadstead/platforms"
    assert PlatformList(path).read() == []
    for text in ("linux/amd64", "linux/arm64/v8"):
        PlatformList(path).add(text)

    assert PlatformList(path).read() == ["linux/amd64", "linux/arm64/v8"]


def test_what_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    """A directory, or a parent that is a file, in its place stops nobody."""
    (tmp_path / "platforms").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "platforms", tmp_path / "file/platforms"):
        PlatformList(path).add("linux/amd64")
        assert PlatformList(path).read() == []
