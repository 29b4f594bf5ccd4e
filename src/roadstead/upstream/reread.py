"""A file that is read again when it has changed, and whose last good content outlives it.

Kubernetes replaces a mounted secret by swapping a symbolic link, editors write anew or in place;
device, inode, size and time of modification tell each of them.
"""

import asyncio
import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

Content = TypeVar("Content")
_Signature: TypeAlias = tuple[int, int, int, int]

_MAX_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


class RereadFile(Generic[Content]):
    """A small file and what was understood of it; looked at once in ``interval_seconds``."""

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], Content],
        *,
        names: Sequence[str] = (),
        interval_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read yet.

        ``parse`` raises ValueError, with a message that may be shown, for what it cannot use.
        ``names`` are the files to look for, in this order, where ``path`` is a directory.
        """
        self._path = path
        self._parse = parse
        self._names = names
        self._interval = interval_seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at: float | None = None
        self._signature: _Signature | None = None
        self._content: Content | None = None
        self._problem = ""

    async def content(self) -> Content:
        """Return the content as of now, or the last that was good.

        Raises:
            ValueError: there never was a good one; the message names the file and the reason.
        """
        async with self._lock:
            if self._checked_at is None or self._clock() - self._checked_at >= self._interval:
                await self._refresh()
        if self._content is None:
            message = f"{self._path} {self._problem}"
            raise ValueError(message)
        return self._content

    async def _refresh(self) -> None:
        problem = ""
        try:
            read = await asyncio.to_thread(_read, self._path, self._names, self._signature)
            if read is not None:
                self._signature, data = read
                self._content = self._parse(data)
        except OSError as error:
            self._signature = None
            problem = f"cannot be read: {error.strerror or type(error).__name__}"
        except ValueError as error:
            problem = str(error)
        else:
            if read is None:
                # As it was, good or bad.
                problem = self._problem
        self._checked_at = self._clock()
        if problem and problem != self._problem:
            use = "nothing of it is" if self._content is None else "its last good content stays"
            _log.warning("%s %s; %s in use", self._path, problem, use)
        self._problem = problem


def _read(
    path: Path, names: Sequence[str], known: _Signature | None
) -> tuple[_Signature, bytes] | None:
    """Read the file, or return None where it is as known."""
    if path.is_dir():
        path = next((path / name for name in names if (path / name).exists()), path)
    # A pipe would block until somebody writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, f"it holds none of {', '.join(names)}")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file")
        signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if signature == known:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {_MAX_BYTES} bytes")
    return signature, data
