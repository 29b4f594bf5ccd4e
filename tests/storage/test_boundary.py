"""Errors and times at the edge."""

import errno
from itertools import count

import pytest

from roadstead.errors import StorageFullError, StorageUnavailableError
from roadstead.storage.boundary import Boundary, storage_errors
from roadstead.telemetry.events import Event, StorageFailed, StorageTimed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_told_apart(number: int) -> None:
    """A full disk and a used-up quota are StorageFullError, with the cause kept."""
    with pytest.raises(StorageFullError) as caught, storage_errors("writing"):
        raise OSError(number, "no room", "secret/path")
    assert isinstance(caught.value.__cause__, OSError)
    assert str(caught.value) == "writing failed: no room"


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "denied"), OSError("odd")])
def test_other_faults_mean_unavailable(error: OSError) -> None:
    """Every other OSError is StorageUnavailableError, also one without a number."""
    with pytest.raises(StorageUnavailableError, match=r"denied|odd"), storage_errors("reading"):
        raise error


def test_actions_are_timed_whether_they_succeed_or_not() -> None:
    """An observer gets one event per action, with the clock's seconds."""
    seen: list[Event] = []
    ticks = count(start=10.0, step=0.5)
    boundary = Boundary(observer=seen.append, clock=lambda: next(ticks))

    with boundary.action("Stat"):
        pass
    with pytest.raises(StorageUnavailableError), boundary.action("Move", "rename"):
        raise OSError(errno.EIO, "broken")

    assert seen == [
        StorageTimed("Stat", 0.5),
        StorageFailed("rename", "EIO"),
        StorageTimed("Move", 0.5),
    ]


def test_a_failed_step_is_told_once() -> None:
    """Inside an action the step alone is told as failed, by the name of its error."""
    seen: list[Event] = []
    boundary = Boundary(observer=seen.append, clock=lambda: 0.0)

    with (
        pytest.raises(StorageFullError, match="linking"),
        boundary.action("Move", "rename"),
        boundary.step("linking", "link"),
    ):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(StorageUnavailableError), boundary.step("reading", "read"):
        raise OSError

    assert [event for event in seen if isinstance(event, StorageFailed)] == [
        StorageFailed("link", "ENOSPC"),
        StorageFailed("read", "other"),
    ]
