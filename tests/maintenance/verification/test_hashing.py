"""Hashing politely: right, at a rate, and without changing what is in memory."""

import ctypes
import mmap
import os
import threading
from itertools import count
from pathlib import Path

import pytest

from roadstead.maintenance.verification.hashing import Pace, StoppedError, matches
from roadstead.oci.digest import Digest
from tests.support.volumes import put

CONTENT = bytes(range(256)) * 10_000


def is_cached(path: Path) -> bool:
    """Say whether the whole file is in memory, without reading it: mincore(2)."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    length = ctypes.c_size_t(len(CONTENT))
    with path.open("rb", buffering=0) as file:
        address = ctypes.c_void_p(
            library.mmap(
                None, length, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), ctypes.c_long(0)
            )
        )
    pages = (ctypes.c_ubyte * -(-len(CONTENT) // mmap.PAGESIZE))()
    try:
        assert library.mincore(address, length, pages) == 0
    finally:
        library.munmap(address, length)
    return all(page & 1 for page in pages)


def drop(path: Path) -> None:
    """Drop a file from memory."""
    with path.open("rb+", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file on a file system that is not in memory."""
    path = put(tmp_path / "data", CONTENT)
    drop(path)
    if is_cached(path):
        pytest.skip("this file system is in memory")
    return path


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, len(CONTENT)])
def test_only_the_right_bytes_match(tmp_path: Path, algorithm: str, size: int) -> None:
    """In every algorithm, at every size around a chunk."""
    path = put(tmp_path / "data", CONTENT[:size])
    with path.open("rb", buffering=0) as file:
        assert matches(file, Digest.of(CONTENT[:size], algorithm), Pace())
        assert not matches(file, Digest.of(CONTENT[:size] + b"x", algorithm), Pace())


@pytest.mark.parametrize("cached", [True, False])
def test_the_page_cache_stays_as_it_was(file: Path, *, cached: bool) -> None:
    """What was in memory is there afterwards, and what was not is not."""
    if cached:
        file.read_bytes()

    with file.open("rb", buffering=0) as opened:
        assert matches(opened, Digest.of(CONTENT), Pace())

    assert is_cached(file) == cached


def test_a_rate_is_kept() -> None:
    """Each piece waits for its turn; time that reading took counts, and is not saved up."""
    waits: list[float] = []

    class Recorder(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    times = iter([0.0, 0.5, 2.0, 9.0, 9.0])
    pace = Pace(bytes_per_second=100, stopping=Recorder(), clock=lambda: next(times))
    for size in (100, 100, 100, 100):
        pace.spend(size)

    # Due at 1; then at 2, which has come; then long ago, so now; then one second later.
    assert waits == [0.5, 0.0, 0.0, 1.0]


def test_a_stop_ends_it_within_a_chunk(tmp_path: Path) -> None:
    """However slow it is."""
    stopping = threading.Event()
    stopping.set()
    ticks = count()
    pace = Pace(bytes_per_second=1, stopping=stopping, clock=lambda: float(next(ticks)))

    with (
        put(tmp_path / "data", CONTENT).open("rb", buffering=0) as file,
        pytest.raises(StoppedError),
    ):
        matches(file, Digest.of(CONTENT), pace)
