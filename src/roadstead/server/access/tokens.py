"""``auth.token``: signed tokens of a token server, as distribution checks them.

Source: distribution's token authentication specification and its registry/auth/token.
"""

import hashlib
import json
import math
import secrets
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cachetools import TTLCache
from joserfc import jws

from roadstead.server.access.policy import Identity
from roadstead.server.access.providers import Proof, Question, bearer_challenge
from roadstead.server.access.scopes import Access, scope_of
from roadstead.server.access.trust import KeyFiles, TrustedKeys

# distribution's allowance for clocks that differ.
_LEEWAY_SECONDS: Final = 60.0
_LONGEST_TOKEN: Final = 64 * 1024
_REMEMBERED_SECONDS: Final = 300.0
_BOTH_NAMES: Final = {"EdDSA": ("EdDSA", "Ed25519")}


class InvalidTokenError(Exception):
    """The token proves nothing; the text names the reason and nothing of the token."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that is well signed says; times are seconds since the epoch."""

    subject: str
    issuer: str
    audience: frozenset[str]
    expires_at: float
    not_before: float
    access: frozenset[tuple[str, str, str]]

    def covers(self, wanted: Access, aliases: Collection[str]) -> bool:
        """Say whether it grants an action, under the resource's name or an alias of it."""
        names = {wanted.name, *aliases} if wanted.kind == "repository" else {wanted.name}
        return any(
            (wanted.kind, name, action) in self.access
            for name in names
            for action in (wanted.action, "*")
        )


class _Registry(jws.JWSRegistry):
    """joserfc's limits are below what a header with certificates needs."""

    max_header_length = 32 * 1024


class TokenProvider:
    """Bearer authentication against the keys of a token server."""

    def __init__(
        self,
        files: KeyFiles,
        *,
        realm: Callable[[str], str],
        service: str,
        issuer: str,
        algorithms: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``realm`` gives the token server's URL for a Host header."""
        self._files = files
        self._realm = realm
        self._service = service
        self._issuer = issuer
        self._algorithms = [both for name in algorithms for both in _BOTH_NAMES.get(name, (name,))]
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._known_with: TrustedKeys | None = None
        self._known: TTLCache[bytes, Claims] = TTLCache(10_000, _REMEMBERED_SECONDS, timer=clock)

    async def examine(self, question: Question) -> Proof:
        """See Provider."""
        scheme, _, token = question.authorization.partition(" ")
        # A scheme without a token says nothing, as in distribution.
        if scheme.lower() != "bearer" or not token.strip():
            return Proof()
        try:
            claims = self._claims(token.strip())
            self._check(claims)
        except InvalidTokenError:
            return Proof(error="invalid_token")
        if not all(claims.covers(access, question.aliases) for access in question.wanted):
            return Proof(error="insufficient_scope")
        return Proof(frozenset({Identity("user", claims.subject)}))

    def challenge(self, question: Question, error: str) -> str:
        """See Provider."""
        realm = self._realm(question.host)
        return bearer_challenge(realm, self._service, scope_of(question.wanted), error=error)

    def close(self) -> None:
        """See Provider."""

    def _claims(self, token: str) -> Claims:
        """Return what the token says; the signature is checked once for many requests."""
        keys = self._files.keys()
        if keys is not self._known_with:
            self._known.clear()
            self._known_with = keys
        name = hashlib.sha256(self._salt + token.encode("utf-8", "surrogateescape")).digest()
        claims = self._known.get(name)
        if claims is None:
            claims = self._known[name] = self._verify(token, keys)
        return claims

    def _verify(self, token: str, keys: TrustedKeys) -> Claims:
        if len(token) > _LONGEST_TOKEN:
            message = "it is too long"
            raise InvalidTokenError(message)
        try:
            return parse_claims(json.loads(self._signed(token, keys)))
        except InvalidTokenError:
            raise
        except Exception as error:  # noqa: BLE001 - see below
            # Every text is made up by a stranger, and the libraries raise what they come across
            # in it: whatever it is, the token proves nothing.
            raise InvalidTokenError(type(error).__name__) from None

    def _signed(self, token: str, keys: TrustedKeys) -> bytes:
        """Return what the token's signature covers."""
        registry = _Registry(algorithms=self._algorithms, strict_check_header=False)
        read = jws.extract_compact(token.encode("ascii"), registry=registry)
        key = keys.find(read.headers(), self._clock())
        with warnings.catch_warnings():
            # EdDSA has become the name of a family; the key says which member is meant.
            warnings.simplefilter("ignore")
            is_valid = jws.validate_compact(read, key, self._algorithms, registry)
        if not is_valid or read.payload is None:
            message = "its signature is wrong"
            raise InvalidTokenError(message)
        return read.payload

    def _check(self, claims: Claims) -> None:
        now = self._clock()
        if claims.issuer != self._issuer:
            message = "it is from another issuer"
        elif self._service not in claims.audience:
            message = "it is for another service"
        elif now > claims.expires_at + _LEEWAY_SECONDS:
            message = "it has expired"
        elif now < claims.not_before - _LEEWAY_SECONDS:
            message = "it is not valid yet"
        else:
            return
        raise InvalidTokenError(message)


def parse_claims(document: object) -> Claims:
    """Read the payload of a token.

    Raises:
        ValueError: it has not the form that the specification gives it.
    """
    if not isinstance(document, Mapping):
        message = "no claims"
        raise ValueError(message)  # noqa: TRY004 - a broken text, not a mistake in the program
    audience = document.get("aud", "")
    return Claims(
        subject=_text(document.get("sub", "")),
        issuer=_text(document.get("iss", "")),
        audience=frozenset(map(_text, audience if isinstance(audience, list) else [audience])),
        expires_at=_moment(document.get("exp", 0)),
        not_before=_moment(document.get("nbf", 0)),
        access=frozenset(
            (_text(entry["type"]), _text(entry["name"]), _text(action))
            for entry in document.get("access") or ()
            for action in entry["actions"] or ()
        ),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON has there
    if not isinstance(value, str):
        message = "not a text"
        raise ValueError(message)  # noqa: TRY004 - as above
    return value


def _moment(value: Any) -> float:  # noqa: ANN401 - as above
    """Read a time; NaN and infinity, which Python's JSON knows, would never expire."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        message = "not a time"
        raise ValueError(message)
    return float(value)
