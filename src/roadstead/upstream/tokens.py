"""Bearer tokens: fetched once per scope, held while they live, renewed before they expire.

Source: distribution's token specification (GET) and its OAuth2 companion (POST), with what
token servers really do: facts/protocol.md, section 4.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from roadstead.errors import UpstreamProtocolError, UpstreamUnauthorizedError
from roadstead.secrecy import Secret
from roadstead.upstream.address import Origin, printable, redirect_target
from roadstead.upstream.answers import MAX_REDIRECTS, REDIRECTS, failure_of
from roadstead.upstream.credentials import Credentials, basic
from roadstead.upstream.realm import refusal_of_realm
from roadstead.upstream.transport import Answer, Call, Transport

_CLIENT_ID = "roadstead"
_MAX_TOKEN_BYTES = 262_144
_MAX_HELD_TOKENS = 4_096
# The specification's default, and the least that its clients believe.
_MIN_LIFE_SECONDS = 60.0
# A token is renewed when this part of its life is over; some registries treat an expired one
# in a way that is hard to recover from (nvcr.io names another realm).
_RENEWAL = 0.85

_NO_SUCH_FLOW = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a token is for; two equal requests share one token.

    ``identity`` names the credentials, empty for none.
    """

    realm: str
    service: str
    scope: str
    identity: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its time, on the clock of the cache."""

    value: Secret
    obtained_at: float
    renew_at: float
    expires_at: float


class TokenCache:
    """Fetches and holds the tokens for one upstream; one fetch per request at a time."""

    def __init__(
        self,
        *,
        transport: Transport,
        upstream: Origin,
        trusted_realms: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._upstream = upstream
        self._trusted = trusted_realms
        self._clock = clock
        self._wall_clock = wall_clock
        self._tokens: dict[TokenRequest, Token] = {}
        self._fetches: dict[TokenRequest, asyncio.Task[Token]] = {}

    async def get(self, request: TokenRequest, credentials: Credentials | None) -> Token:
        """Return a held token, or fetch one.

        Raises:
            UpstreamUnauthorizedError: the realm is not to be trusted, or refuses us.
            UpstreamError: the token server did not answer, or not with a token.
        """
        held = self._tokens.get(request)
        if held is not None and self._clock() < held.renew_at:
            return held
        # The task belongs to nobody: a caller that leaves takes the token from no other.
        task = self._fetches.get(request)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._renew(request, credentials, held))
            self._fetches[request] = task
            task.add_done_callback(lambda done: self._settle(request, done))
        return await asyncio.shield(task)

    def forget(self, token: Token) -> None:
        """Drop a token that upstream refused."""
        self._tokens = {key: held for key, held in self._tokens.items() if held is not token}

    async def aclose(self) -> None:
        """Cancel what is being fetched."""
        tasks = list(self._fetches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _settle(self, request: TokenRequest, task: "asyncio.Task[Token]") -> None:
        del self._fetches[request]
        if task.cancelled() or task.exception() is not None:
            return
        self._tokens.pop(request, None)
        if len(self._tokens) >= _MAX_HELD_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[request] = task.result()

    async def _renew(
        self, request: TokenRequest, credentials: Credentials | None, held: Token | None
    ) -> Token:
        try:
            return await self._fetch(request, credentials)
        except Exception:
            # Too early to need the new one: the old one does until it expires.
            if held is not None and self._clock() < held.expires_at:
                return held
            raise

    async def _fetch(self, request: TokenRequest, credentials: Credentials | None) -> Token:
        if credentials is not None and credentials.is_identity_token:
            grant = {"grant_type": "refresh_token", "refresh_token": credentials.password.reveal()}
            answer = await self._post(request, grant)
        else:
            answer = await self._get(request, credentials)
            if answer.status in _NO_SUCH_FLOW and credentials is not None:
                grant = {
                    "grant_type": "password",
                    "username": credentials.username,
                    "password": credentials.password.reveal(),
                }
                answer = await self._post(request, grant)
        if answer.status != HTTPStatus.OK:
            raise failure_of(
                answer.status,
                answer.headers,
                answer.body,
                upstream=self._host,
                now=self._wall_clock(),
                hide=[answer.authorization, *([credentials.password] if credentials else [])],
                speaker=f"its token server {printable(request.realm)}",
            )
        return self._read(answer)

    async def _get(self, request: TokenRequest, credentials: Credentials | None) -> Answer:
        authorization = None if credentials is None else basic(credentials)
        query = {"service": request.service, "scope": request.scope, "client_id": _CLIENT_ID}
        if credentials is not None:
            query["account"] = credentials.username
        given = {key: value for key, value in query.items() if value}
        url = f"{request.realm}{'&' if '?' in request.realm else '?'}{urlencode(given)}"
        for _ in range(MAX_REDIRECTS):
            self._check(url)
            # Wherever this goes, it might have been named as the realm: so has what is sent.
            answer = await self._send("GET", url, authorization=authorization)
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or location is None:
                return answer
            try:
                url = redirect_target(url, location)
            except ValueError as error:
                message = f"the token server's redirect {error}"
                raise UpstreamProtocolError(message, upstream=self._host) from None
        message = f"the token server {printable(request.realm)} redirects without end"
        raise UpstreamProtocolError(message, upstream=self._host)

    async def _post(self, request: TokenRequest, grant: dict[str, str]) -> Answer:
        self._check(request.realm)
        form = {"service": request.service, "scope": request.scope, "client_id": _CLIENT_ID}
        return await self._send("POST", request.realm, form=form | grant)

    async def _send(
        self,
        method: str,
        url: str,
        *,
        authorization: Secret | None = None,
        form: dict[str, str] | None = None,
    ) -> Answer:
        call = Call(
            method=method,
            url=url,
            headers={"Accept": "application/json"},
            authorization=authorization,
            form=form,
            follow=False,
        )
        return await self._transport.fetch(call, limit_bytes=_MAX_TOKEN_BYTES)

    def _check(self, url: str) -> None:
        refusal = refusal_of_realm(url, upstream=self._upstream, trusted=self._trusted)
        if refusal is not None:
            message = f"its token server {printable(url)} was not asked: {refusal}"
            raise UpstreamUnauthorizedError(message, upstream=self._host)

    def _read(self, answer: Answer) -> Token:
        # The body holds the token, so no error repeats or chains it.
        try:
            document = json.loads(answer.body)
            value = document.get("token") or document.get("access_token")
            announced = document.get("expires_in")
        except (ValueError, AttributeError, RecursionError):
            value = announced = None
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            message = f"the token server {printable(answer.url)} sent no token"
            raise UpstreamProtocolError(message, upstream=self._host)
        # NaN compares as false, so it falls to the minimum.
        known = isinstance(announced, int | float) and announced > _MIN_LIFE_SECONDS
        life = float(announced) if known else _MIN_LIFE_SECONDS
        # Counted from the receipt: issued_at would need synchronous clocks.
        now = self._clock()
        return Token(Secret(value), now, now + life * _RENEWAL, now + life)

    @property
    def _host(self) -> str:
        return self._upstream.authority
