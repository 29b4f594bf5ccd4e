"""Atomic writes."""

import os
from pathlib import Path

import pytest

from roadstead.storage.durability import (
    link_atomically,
    make_directories,
    sync_directory,
    temporary_name,
    write_atomically,
)
from tests.support.volumes import files_below, put


def test_a_write_replaces_whole_files(tmp_path: Path) -> None:
    """A reader that has the old file open keeps it; who opens later sees the new one."""
    path = put(tmp_path / "file", b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old"
    assert files_below(tmp_path) == {"file": b"new"}


def test_a_write_makes_the_directories(tmp_path: Path) -> None:
    """Missing parents are made; existing ones are no obstacle."""
    write_atomically(tmp_path / "a/b/c", b"1")
    write_atomically(tmp_path / "a/b/d", b"2")
    assert files_below(tmp_path) == {"a/b/c": b"1", "a/b/d": b"2"}


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """Whatever goes wrong before the rename, the temporary file goes too."""
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "target", "no bytes")  # type: ignore[arg-type] # on purpose
    assert files_below(tmp_path) == {}


def test_a_directory_in_the_way_goes_aside(tmp_path: Path) -> None:
    """What it holds is kept under a name that readers skip."""
    put(tmp_path / "target/odd", b"kept")
    write_atomically(tmp_path / "target", b"content")
    files = files_below(tmp_path)
    assert files.pop("target") == b"content"
    ((name, content),) = files.items()
    assert Path(name).parent.suffix == ".tmp"
    assert content == b"kept"


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    """A directory is never made in place of a file."""
    put(tmp_path / "file", b"kept")
    with pytest.raises(FileExistsError):
        make_directories(tmp_path / "file")
    assert files_below(tmp_path) == {"file": b"kept"}


def test_modes_are_those_of_distribution(tmp_path: Path) -> None:
    """Files are 0666 and directories 0777, less the umask."""
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "directory/file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "directory").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "directory/file").stat().st_mode & 0o777 == 0o640


def test_temporary_names_are_those_that_distribution_skips() -> None:
    """The name is that of the file with a unique part and ``.tmp``."""
    one, other = temporary_name(Path("a/link")), temporary_name(Path("a/link"))
    assert one != other
    assert one.match("a/link.*.tmp")


def test_a_second_name_replaces_what_was_there(tmp_path: Path) -> None:
    """Linking gives the same file, also twice, also over a damaged one."""
    source = put(tmp_path / "source", b"content")
    target = put(tmp_path / "target", b"")
    link_atomically(source, target)
    link_atomically(source, target)
    assert source.samefile(target)
    assert len(files_below(tmp_path)) == 2


def test_a_directory_that_cannot_be_synced_is_no_error() -> None:
    """File systems without synced directories are served as well as they can be.

    The process file system is one of them, and there wherever the tests run.
    """
    sync_directory(Path("/proc"))
    with pytest.raises(FileNotFoundError):
        sync_directory(Path("/proc/missing"))
