"""One small call from begin to end: authentication, retries, and a bound on all of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar

from roadstead.errors import UpstreamError, UpstreamTimeoutError
from roadstead.oci.reference import RepositoryName
from roadstead.upstream.address import Api
from roadstead.upstream.answers import MAX_ERROR_BYTES, failure_of
from roadstead.upstream.auth import AuthSession
from roadstead.upstream.retry import Retries
from roadstead.upstream.timeouts import Timeouts
from roadstead.upstream.transport import Answer, Call, OpenAnswer, Transport

Value = TypeVar("Value")

_TROUBLE = HTTPStatus.INTERNAL_SERVER_ERROR


class Caller:
    """Makes authenticated calls to one upstream."""

    def __init__(
        self,
        *,
        api: Api,
        transport: Transport,
        auth: AuthSession,
        timeouts: Timeouts,
        retries: Retries,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._host = api.origin.authority
        self._transport = transport
        self._auth = auth
        self._timeouts = timeouts
        self._retries = retries
        self._wall_clock = wall_clock

    def address(self, repository: RepositoryName, rest: str, **query: object) -> str:
        """Write the address of something in a repository, such as ``tags/list``."""
        return self._api.address(repository, rest, **query)

    async def fetch(
        self,
        method: str,
        repository: RepositoryName,
        url: str,
        *,
        limit_bytes: int,
        headers: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> Answer:
        """Make a call with all that belongs to it; ``follow`` redirects or take them as answers.

        Any status but 429 and 5xx is an answer, and the caller's to judge; the body of one
        that is no success is cut rather than refused.

        Raises:
            UpstreamError: upstream did not answer, was busy or in trouble.
            ContentTooLargeError: the body of a success is longer than ``limit_bytes``.
        """

        async def once() -> Answer:
            async with self.open(method, repository, url, headers=headers, follow=follow) as answer:
                if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    return await answer.read(limit_bytes)
                return await answer.read(MAX_ERROR_BYTES, truncate=True)

        return await self.patiently(once)

    async def patiently(self, call: Callable[[], Awaitable[Value]]) -> Value:
        """Repeat a call that fails for reasons that pass, within the total bound.

        Raises:
            UpstreamError: the last failure.
        """
        total = self._timeouts.total
        try:
            async with asyncio.timeout(total):
                return await self._retries.run(call)
        except TimeoutError as error:
            message = f"gave no complete answer in {total:g} s"
            raise UpstreamTimeoutError(message, upstream=self._host) from error

    @asynccontextmanager
    async def open(
        self,
        method: str,
        repository: RepositoryName,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> AsyncIterator[OpenAnswer]:
        """Make a call, once for each thing that authentication wants tried.

        Raises:
            UpstreamError: upstream did not answer, was busy or in trouble.
        """
        dialogue = self._auth.dialogue(repository)
        await dialogue.begin()
        while True:
            call = Call(
                method=method,
                url=url,
                headers=headers or {},
                authorization=dialogue.authorization,
                follow=follow,
            )
            async with self._transport.open(call) as answer:
                refused = answer.status == HTTPStatus.UNAUTHORIZED and not answer.redirected
                if refused and await dialogue.retry(answer.challenges):
                    continue
                if answer.status >= _TROUBLE or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                    raise self.failure(await answer.read(MAX_ERROR_BYTES, truncate=True))
                yield answer
                return

    def failure(self, answer: Answer) -> UpstreamError:
        """Turn an answer that is no success into the error that it stands for."""
        return failure_of(
            answer.status,
            answer.headers,
            answer.body,
            upstream=self._host,
            now=self._wall_clock(),
            hide=[answer.authorization],
        )
