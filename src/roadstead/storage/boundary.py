"""The edge between the operating system and the rest of the program."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from roadstead.errors import StorageError, StorageFullError, StorageUnavailableError
from roadstead.telemetry.events import Observer, StorageFailed, StorageTimed

READ = "read"
"""The operation of everything that writes nothing."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that names ``action`` and no path.

    The path is for the operator, who finds it in the cause; the message may reach a client.

    Raises:
        StorageFullError: no space, or no quota, is left.
        StorageUnavailableError: any other OSError.
    """
    try:
        yield
    except OSError as error:
        message = f"{action} failed: {error.strerror or error}"
        if error.errno in _FULL:
            raise StorageFullError(message) from error
        raise StorageUnavailableError(message) from error


class Boundary:
    """Times actions of a store and translates what goes wrong in them.

    ``clock`` gives seconds and never runs backwards. ``observer`` is called in the thread of
    the action.
    """

    def __init__(self, *, observer: Observer, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._clock = clock

    @contextmanager
    def action(self, name: str, operation: str = READ) -> Iterator[None]:
        """Run one action, called ``name`` as in distribution's ``storage_action`` metric.

        Failed ones are timed too, as in distribution; they are told as failures of
        ``operation``, which names a write more closely.

        Raises:
            StorageError: as ``storage_errors`` says.
        """
        started = self._clock()
        try:
            with self.step(name, operation):
                yield
        finally:
            self._observer(StorageTimed(name, self._clock() - started))

    @contextmanager
    def step(self, action: str, operation: str) -> Iterator[None]:
        """Run a part of an action: translate what goes wrong in it, and tell of it.

        Raises:
            StorageError: as ``storage_errors`` says.
        """
        try:
            with storage_errors(action):
                yield
        except StorageError as error:
            if not error.is_told:
                error.is_told = True
                number = getattr(error.__cause__, "errno", None)
                self._observer(StorageFailed(operation, errno.errorcode.get(number or 0, "other")))
            raise
