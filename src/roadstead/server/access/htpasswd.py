"""The file of ``auth.htpasswd``: names and bcrypt hashes, read again when it changes."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

_log = logging.getLogger("roadstead.access")

# How often the file is looked at, in seconds; a look is one call of stat.
_LOOK_EVERY_SECONDS: Final = 1.0
_BCRYPT: Final = (b"$2a$", b"$2b$", b"$2y$")


class HtpasswdFile:
    """Users by name, as the file says now.

    A file that is missing or cannot be read admits nobody until it is there: it is never made
    up, because the password of a made-up user would have to be told in a log.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._next_look = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._entries: Mapping[str, bytes] = MappingProxyType({})
        self._is_first = True

    def entries(self) -> Mapping[str, bytes]:
        """Return the bcrypt hash of every user, looking at the file at most once a second."""
        now = self._clock()
        if self._is_first or now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_SECONDS
            self._look()
            self._is_first = False
        return self._entries

    def _look(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen == self._seen:
                return
            entries, odd = parse_htpasswd(self._path.read_bytes())
        except OSError as error:
            if self._seen is not None or self._is_first:
                self._tell(
                    logging.ERROR,
                    "nobody can log in: the password file cannot be read",
                    error=error.strerror or str(error),
                )
            self._seen, self._entries = None, MappingProxyType({})
            return
        self._seen, self._entries = seen, MappingProxyType(entries)
        self._tell(logging.INFO, "password file read", users=len(entries))
        if odd:
            self._tell(
                logging.WARNING,
                "users without a bcrypt hash cannot log in; make one with htpasswd -B",
                users=", ".join(odd),
            )

    def _tell(self, level: int, message: str, **fields: object) -> None:
        _log.log(level, message, extra={"fields": {"path": str(self._path), **fields}})


def parse_htpasswd(content: bytes) -> tuple[dict[str, bytes], list[str]]:
    """Return the hash of each user with a bcrypt one, and the names of the others.

    Of a name that stands twice the first entry counts, as in Apache and nginx.
    """
    entries: dict[str, bytes] = {}
    odd = []
    for line in content.splitlines():
        stripped = line.strip()
        name, colon, hashed = stripped.partition(b":")
        if not stripped or stripped.startswith(b"#") or not colon or not name:
            continue
        user = name.decode("utf-8", "replace")
        if hashed.startswith(_BCRYPT):
            entries.setdefault(user, hashed)
        else:
            odd.append(user)
    return entries, odd
