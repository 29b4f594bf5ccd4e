"""The edge between the operating system and the rest of the program."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

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
        raise _translated(action, error) from error


class Boundary:
    """Times actions of a store and translates what goes wrong in them.

    ``clock`` gives seconds and never runs backwards. ``observer`` is called in the thread of
    the action.
    """

    def __init__(self, *, observer: Observer, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._clock = clock

    def action(self, name: str, operation: str = READ) -> AbstractContextManager[None]:
        """Run one action, called ``name`` as in distribution's ``storage_action`` metric.

        Failed ones are timed too, as in distribution; they are told as failures of
        ``operation``, which names a write more closely.

        Raises:
            StorageError: as ``storage_errors`` says.
        """
        return _Action(name, operation, observer=self._observer, clock=self._clock)

    def step(self, action: str, operation: str) -> AbstractContextManager[None]:
        """Run a part of an action: translate what goes wrong in it, and tell of it.

        Raises:
            StorageError: as ``storage_errors`` says.
        """
        return _Step(action, operation, observer=self._observer)


class _Step(AbstractContextManager[None]):
    """Classes and not generators, because each warm blob passes one and those cost three times."""

    def __init__(self, action: str, operation: str, *, observer: Observer) -> None:
        self._action = action
        self._operation = operation
        self._observer = observer

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Translate and tell of ``error``, if it is a fault of the store."""
        if isinstance(error, OSError):
            translated = _translated(self._action, error)
            self._tell(translated, error)
            raise translated from error
        if isinstance(error, StorageError):
            self._tell(error, error.__cause__)

    def _tell(self, error: StorageError, cause: BaseException | None) -> None:
        if error.is_told:
            return
        error.is_told = True
        number = getattr(cause, "errno", None)
        name = errno.errorcode.get(number or 0, "other")
        self._observer(StorageFailed(self._operation, name))


class _Action(_Step):
    """A step that is timed."""

    def __init__(
        self, action: str, operation: str, *, observer: Observer, clock: Callable[[], float]
    ) -> None:
        super().__init__(action, operation, observer=observer)
        self._clock = clock

    def __enter__(self) -> None:
        self._started = self._clock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                super().__exit__(kind, error, traceback)
        finally:
            self._observer(StorageTimed(self._action, self._clock() - self._started))


def _translated(action: str, error: OSError) -> StorageError:
    message = f"{action} failed: {error.strerror or error}"
    return (StorageFullError if error.errno in _FULL else StorageUnavailableError)(message)
