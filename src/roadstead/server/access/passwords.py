"""Checking passwords: bcrypt in threads, once for the many requests of one pull."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt
from cachetools import TTLCache

from roadstead.errors import TooManyAttemptsError
from roadstead.server.access.attempts import Attempts
from roadstead.server.access.htpasswd import HtpasswdFile

# bcrypt looks at 72 bytes; Apache's htpasswd and Go cut what is longer, and so do we.
_BCRYPT_BYTES: Final = 72
_THREADS: Final = 2
_LONGEST_PASSWORD: Final = 1024
# Salt and hash of a user that does not exist, so that a wrong name takes as long as a wrong
# password; version and cost are those of the file's entries.
_NOBODY: Final = b"C6UzMDM.H6dfI/f/IKcEeO7ZDL4ytHgYAz1rHRwNGM6iZpOuDxhDa"
_PREFIX_BYTES: Final = len(b"$2b$10$")


class PasswordChecker:
    """Says whether a password is that of a user in the file.

    What was right is remembered for ``right_seconds`` and what was wrong for ``wrong_seconds``,
    under a hash that is salted for this process and covers the entry of the file: an entry that
    changes or goes is forgotten at once. No password is kept.
    """

    def __init__(
        self,
        file: HtpasswdFile,
        *,
        attempts: Attempts,
        right_seconds: float = 300.0,
        wrong_seconds: float = 10.0,
        most_pending: int = 64,
        compare: Callable[[bytes, bytes], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check at most ``most_pending`` passwords at one time; the others are turned away.

        ``compare`` gets a password and a hash, in a thread; bcrypt by default.
        """
        self._file = file
        self._attempts = attempts
        self._most_pending = most_pending
        self._compare = compare or matches
        self._salt = secrets.token_bytes(32)
        self._right: TTLCache[bytes, bool] = TTLCache(10_000, right_seconds, timer=clock)
        self._wrong: TTLCache[bytes, bool] = TTLCache(10_000, wrong_seconds, timer=clock)
        self._pending: dict[bytes, asyncio.Future[bool]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bcrypt")

    async def check(self, user: str, password: str, *, site: str) -> bool:
        """Say whether the password is right; ``site`` is where the attempt comes from.

        Raises:
            TooManyAttemptsError: of this site's attempts too many were wrong, or too many
                passwords wait to be checked.
        """
        entries = self._file.entries()
        hashed = entries.get(user)
        given = password.encode("utf-8", "surrogateescape")
        key = self._key(user, given, hashed)
        if key in self._right:
            return True
        if key in self._wrong or len(given) > _LONGEST_PASSWORD:
            return False
        running = self._pending.get(key)
        if running is None:
            wait_seconds = self._attempts.wait_seconds(site)
            if wait_seconds > 0.0 or len(self._pending) >= self._most_pending:
                raise TooManyAttemptsError(wait_seconds or 1.0)
            running = self._start(key, given, hashed or _nobody(entries), site)
        # The check goes on for the others when one of them leaves.
        return await asyncio.shield(running)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: bytes, given: bytes, hashed: bytes, site: str) -> asyncio.Future[bool]:
        loop = asyncio.get_running_loop()
        started = loop.run_in_executor(self._threads, self._compare, given, hashed)
        self._pending[key] = started

        def note(done: asyncio.Future[bool]) -> None:
            self._pending.pop(key, None)
            if done.cancelled() or done.exception() is not None:
                return
            if done.result():
                self._right[key] = True
            else:
                self._wrong[key] = True
                self._attempts.failed(site)

        started.add_done_callback(note)
        return started

    def _key(self, user: str, given: bytes, hashed: bytes | None) -> bytes:
        parts = (user.encode("utf-8", "surrogateescape"), given, hashed or b"")
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._salt, framed, hashlib.sha256)


def _nobody(entries: Mapping[str, bytes]) -> bytes:
    prefix = next(iter(entries.values()), b"$2b$10$")[:_PREFIX_BYTES]
    return prefix + _NOBODY


def matches(given: bytes, hashed: bytes) -> bool:
    """Say whether a password has this hash."""
    try:
        return bcrypt.checkpw(given[:_BCRYPT_BYTES], hashed)
    except ValueError:
        # A zero byte in the password, or an entry that is no bcrypt hash after all.
        return False
