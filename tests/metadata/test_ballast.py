"""Room that is put by for the database."""

from pathlib import Path

from roadstead.metadata.ballast import BALLAST_BYTES, Ballast


def test_it_goes_only_when_the_disk_is_full(tmp_path: Path) -> None:
    """Another kind of trouble is no reason; and where there is none, nothing can go."""
    path = tmp_path / "ballast"
    ballast = Ballast(path)
    assert not ballast.throw()

    ballast.lay()
    ballast.lay()

    assert path.stat().st_size == BALLAST_BYTES
    assert not ballast.throw()
    assert path.exists()


def test_it_takes_no_room_that_others_need(small_volume: Path) -> None:
    """A disk without plenty of room has none; a full one gets it back at once."""
    path = small_volume / "ballast"
    ballast = Ballast(path)
    ballast.lay()
    assert not path.exists()

    path.write_bytes(bytes(65536))
    assert ballast.throw()
    assert not path.exists()
