"""Whether upstream itself lets a caller read what is held: ``access.checkupstream``.

For upstreams with images that not everybody who reaches the mirror may see. The caller's own
credentials go to that upstream, by the rules that hold for the mirror's (to the registry's own
host and its token server, never along a redirect), and are kept nowhere.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Final, TypeAlias

from cachetools import TTLCache

from roadstead.errors import (
    AccessDeniedError,
    AuthenticationRequiredError,
    TooManyAttemptsError,
    UpstreamDeniedError,
    UpstreamUnauthorizedError,
)
from roadstead.mirror.routing import Destination
from roadstead.secrecy import Secret
from roadstead.server.access.attempts import Attempts
from roadstead.server.access.providers import Question, basic_credentials, quoted
from roadstead.server.endpoints import Endpoint

Credentials: TypeAlias = tuple[str, Secret]

Ask: TypeAlias = Callable[[Destination, Endpoint, Credentials | None], Coroutine[None, None, None]]
"""Asks an upstream for what an endpoint means, as somebody; raises if it is not given."""

REALM: Final = "the registry behind this mirror"

# As long as a pull may take between its manifest and its last layer, and no longer.
_READABLE_SECONDS: Final = 120.0
_MOST_PENDING: Final = 64


class CallerCheck:
    """Asks upstream on behalf of callers, once for the many requests of one pull."""

    def __init__(
        self,
        upstreams: Collection[str],
        ask: Ask,
        *,
        attempts: Attempts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check repositories of these ``upstreams``, by configured name."""
        self._upstreams = frozenset(upstreams)
        self._ask = ask
        self._attempts = attempts
        self._salt = secrets.token_bytes(32)
        self._readable: TTLCache[bytes, bool] = TTLCache(50_000, _READABLE_SECONDS, timer=clock)
        self._pending: dict[tuple[bytes, Endpoint], asyncio.Task[None]] = {}

    def concerns(self, upstream: str) -> bool:
        """Say whether this upstream's images are checked."""
        return upstream in self._upstreams

    def greet(self, question: Question) -> None:
        """Ask for credentials at ``/v2/``, where Docker and podman learn that they may be needed.

        Raises:
            AuthenticationRequiredError: no Authorization header was sent; podman without
                credentials then sends an empty one, and Docker goes to the registry itself.
        """
        if not question.authorization:
            raise _challenge(question)

    async def require(
        self, destination: Destination, endpoint: Endpoint, question: Question
    ) -> None:
        """Let a caller through if upstream does.

        Raises:
            AuthenticationRequiredError: upstream does not show this to strangers.
            AccessDeniedError: nor to this caller.
            TooManyAttemptsError: too many answers of that kind, or too many questions at once.
            UnknownContentError: upstream does not have it, as far as this caller is told.
            UpstreamError: upstream cannot be asked, and then nobody is let through.
        """
        given = basic_credentials(question.authorization)
        who = (given[0], Secret(given[1])) if given is not None and any(given) else None
        key = self._key(destination, who)
        if key in self._readable:
            return
        running = self._pending.get((key, endpoint))
        if running is None:
            wait_seconds = self._attempts.wait_seconds(question.site)
            if wait_seconds > 0.0 or len(self._pending) >= _MOST_PENDING:
                raise TooManyAttemptsError(wait_seconds or 1.0)
            running = self._start(key, destination, endpoint, who)
        try:
            await asyncio.shield(running)
        except (UpstreamUnauthorizedError, UpstreamDeniedError):
            if who is None:
                raise _challenge(question) from None
            self._attempts.failed(question.site)
            message = (
                f"{destination.upstream} does not let this account read {destination.own_name}"
            )
            raise AccessDeniedError(message) from None

    async def aclose(self) -> None:
        """Cancel what is asked."""
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(
        self, key: bytes, destination: Destination, endpoint: Endpoint, who: Credentials | None
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._ask(destination, endpoint, who))
        self._pending[key, endpoint] = task

        def note(done: asyncio.Task[None]) -> None:
            self._pending.pop((key, endpoint), None)
            # Looking at the exception also tells asyncio that somebody has.
            if not done.cancelled() and done.exception() is None:
                self._readable[key] = True

        task.add_done_callback(note)
        return task

    def _key(self, destination: Destination, who: Credentials | None) -> bytes:
        user, password = ("", "") if who is None else (who[0], who[1].reveal())
        parts = (destination.upstream, destination.own_name, user, password)
        framed = b"".join(
            len(part).to_bytes(4, "big") + part
            for part in (text.encode("utf-8", "surrogateescape") for text in parts)
        )
        return hmac.digest(self._salt, framed, hashlib.sha256)


def _challenge(question: Question) -> AuthenticationRequiredError:
    return AuthenticationRequiredError(
        f"Basic realm={quoted(REALM)}", wanted=[access.detail() for access in question.wanted]
    )
