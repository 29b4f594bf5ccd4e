"""What one upstream wants to see in Authorization, learnt from what it refuses.

No request is preceded by a ping: it is tried with what is known, and a 401 teaches the rest.
A conversation about one request is a Dialogue, so that the event loop and the transfer threads
follow the same rules.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from roadstead.errors import UpstreamUnauthorizedError
from roadstead.oci.reference import RepositoryName
from roadstead.secrecy import Secret
from roadstead.upstream.address import Origin, printable
from roadstead.upstream.challenge import Challenge, parse_challenges
from roadstead.upstream.credentials import Credentials, CredentialSource, basic
from roadstead.upstream.realm import refusal_of_realm
from roadstead.upstream.tokens import Token, TokenCache, TokenRequest
from roadstead.upstream.transport import Call, Transport

_MAX_PING_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class _Method:
    """How this upstream wants to be convinced."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""
    """A scope for everything (public.ecr.aws: ``aws``), empty for one of the repository."""


class AuthSession:
    """What is known about one upstream's authentication."""

    def __init__(
        self,
        *,
        origin: Origin,
        transport: Transport,
        tokens: TokenCache,
        credentials: CredentialSource,
        trusted_realms: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` must be the clock of ``tokens``."""
        self._origin = origin
        self._transport = transport
        self._tokens = tokens
        self._credentials = credentials
        self._trusted = trusted_realms
        self._clock = clock
        self._method: _Method | None = None

    def dialogue(self, repository: RepositoryName) -> "Dialogue":
        """Begin the conversation about one request."""
        return Dialogue(self, repository, started_at=self._clock())

    @property
    def asks_for_nothing(self) -> bool:
        """Whether no answer has asked for authorization yet; callable from any thread."""
        return self._method is None

    async def grant(self, repository: RepositoryName) -> tuple[Secret | None, Token | None]:
        """Return the Authorization header that is known to be wanted, and the token in it.

        Raises:
            UpstreamUnauthorizedError: credentials are wanted and there are none.
            UpstreamError: the token server failed.
        """
        method = self._method
        if method is None:
            return None, None
        credentials = await self._credentials.get(repository)
        if method.scheme == "basic":
            return basic(self._required(credentials)), None
        if credentials is not None and credentials.is_bearer:
            return Secret(f"Bearer {credentials.password.reveal()}"), None
        request = TokenRequest(
            realm=method.realm,
            service=method.service,
            scope=method.scope or f"repository:{repository}:pull",
            identity="" if credentials is None else credentials.identity,
        )
        token = await self._tokens.get(request, credentials)
        return Secret(f"Bearer {token.value.reveal()}"), token

    async def learn(self, repository: RepositoryName, headers: list[str]) -> bool:
        """Learn from the WWW-Authenticate headers of a 401, or from ``/v2/`` if it had none.

        gcr.io challenges on ``/v2/`` only. Returns whether there is anything to try.

        Raises:
            UpstreamUnauthorizedError: none of the challenges can, or may, be met.
        """
        challenges = parse_challenges(headers)
        if not challenges:
            call = Call(method="GET", url=f"{self._origin.url}/v2/", headers={}, follow=False)
            ping = await self._transport.fetch(call, limit_bytes=_MAX_PING_BYTES, truncate=True)
            challenges = parse_challenges(ping.challenges)
        if not challenges:
            return False
        self._method = await self._choose(repository, challenges)
        return True

    def is_known(self, headers: list[str]) -> bool:
        """Say whether a 401 asks for just what was given to it."""
        return self._method in [_method_of(challenge) for challenge in parse_challenges(headers)]

    def forget(self, token: Token) -> None:
        """Drop a token that was refused."""
        self._tokens.forget(token)

    async def _choose(self, repository: RepositoryName, challenges: list[Challenge]) -> _Method:
        """Take Bearer where its realm may be asked, else Basic where there are credentials."""
        credentials = await self._credentials.get(repository)
        bearers = [
            _method_of(challenge) for challenge in challenges if challenge.scheme == "bearer"
        ]
        refusals = []
        for method in bearers:
            refusal = refusal_of_realm(method.realm, upstream=self._origin, trusted=self._trusted)
            if refusal is None:
                return method
            refusals.append(f"its token server {printable(method.realm)} was not asked: {refusal}")
        if bearers and credentials is not None and credentials.is_bearer:
            # A ready token needs no token server; before one is asked, its realm is judged again.
            return bearers[0]
        if any(challenge.scheme == "basic" for challenge in challenges):
            if not refusals:
                self._required(credentials)
            if credentials is not None:
                return _Method("basic")
        message = "; ".join(refusals) or "it asks for an unknown kind of authentication"
        raise UpstreamUnauthorizedError(message, upstream=self._origin.authority, status=401)

    def _required(self, credentials: Credentials | None) -> Credentials:
        if credentials is None or credentials.is_identity_token or credentials.is_bearer:
            message = "it asks for a user name and a password, and none are configured"
            raise UpstreamUnauthorizedError(message, upstream=self._origin.authority, status=401)
        return credentials


class Dialogue:
    """The conversation about one request: what to send first, and what after a 401."""

    def __init__(
        self, session: AuthSession, repository: RepositoryName, *, started_at: float
    ) -> None:
        self._session = session
        self._repository = repository
        self._started_at = started_at
        self._token: Token | None = None
        self._refusals = 0
        self.authorization: Secret | None = None

    async def begin(self) -> None:
        """Set ``authorization`` to what is known to be wanted.

        Raises:
            UpstreamError: as ``AuthSession.grant``.
        """
        self.authorization, self._token = await self._session.grant(self._repository)

    async def retry(self, www_authenticate: list[str]) -> bool:
        """React to a 401; whether to send the request again with the new ``authorization``.

        A refused header is dropped and the request repeated once without it, since the 401 of
        an expired token may name another realm than the first one did (nvcr.io).

        Raises:
            UpstreamError: as ``AuthSession.learn`` and ``AuthSession.grant``.
        """
        self._refusals += 1
        if self._refusals > 2:  # noqa: PLR2004 - with what was known, and without
            return False
        if self.authorization is None:
            if not await self._session.learn(self._repository, www_authenticate):
                return False
            await self.begin()
            return self.authorization is not None
        fresh = self._token is None or self._token.obtained_at >= self._started_at
        if fresh and self._session.is_known(www_authenticate):
            return False
        if self._token is not None:
            self._session.forget(self._token)
        self.authorization, self._token = None, None
        return True


def _method_of(challenge: Challenge) -> _Method:
    if challenge.scheme == "basic":
        return _Method("basic")
    scope = challenge.get("scope")
    # Ours is built from the repository: ghcr.io's challenge names one that does not exist.
    fixed = "" if ":" in scope else scope
    return _Method(challenge.scheme, challenge.get("realm"), challenge.get("service"), fixed)
