"""Ways to prove who one is by the Authorization header: distribution's ``auth`` section."""

import base64
import binascii
from dataclasses import dataclass
from typing import Protocol

from roadstead.server.access.passwords import PasswordChecker
from roadstead.server.access.policy import Identity
from roadstead.server.access.scopes import Access


@dataclass(frozen=True, slots=True)
class Proof:
    """What an Authorization header proves.

    ``error`` is None unless one was shown that proves nothing: then it is the error to tell in
    the challenge, "" for none.
    """

    identities: frozenset[Identity] = frozenset()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a provider needs to know of a request.

    ``wanted`` is what the request is for; ``aliases`` are further names that mean the same
    repository. ``site`` is where it comes from, ``host`` the Host header.
    """

    authorization: str
    wanted: tuple[Access, ...] = ()
    aliases: frozenset[str] = frozenset()
    site: str = ""
    host: str = ""


class Provider(Protocol):
    """One section of ``auth``."""

    async def examine(self, question: Question) -> Proof:
        """Look at an Authorization header; an empty one proves nothing and is no error.

        Raises:
            TooManyAttemptsError: too many wrong ones came from this site.
        """

    def challenge(self, question: Question, error: str) -> str:
        """Write the Www-Authenticate header."""

    def close(self) -> None:
        """Let go of what is held."""


class HtpasswdProvider:
    """``auth.htpasswd``: Basic authentication against a file."""

    def __init__(self, checker: PasswordChecker, *, realm: str) -> None:
        self._checker = checker
        self._realm = realm

    async def examine(self, question: Question) -> Proof:
        """See Provider."""
        given = basic_credentials(question.authorization)
        if given is None:
            return Proof(error="" if _has_scheme(question.authorization, "basic") else None)
        user, password = given
        # podman says so when it has no credentials.
        if not user and not password:
            return Proof()
        if await self._checker.check(user, password, site=question.site):
            return Proof(frozenset({Identity("user", user)}))
        return Proof(error="")

    def challenge(self, question: Question, error: str) -> str:  # noqa: ARG002 - see Provider
        """See Provider."""
        return f"Basic realm={quoted(self._realm)}"

    def close(self) -> None:
        """See Provider."""
        self._checker.close()


class SillyProvider:
    """``auth.silly``: any Authorization header will do; for development, as in distribution."""

    def __init__(self, *, realm: str, service: str) -> None:
        self._realm = realm
        self._service = service

    async def examine(self, question: Question) -> Proof:
        """See Provider."""
        if not question.authorization:
            return Proof()
        return Proof(frozenset({Identity("user", "silly")}))

    def challenge(self, question: Question, error: str) -> str:  # noqa: ARG002 - see Provider
        """See Provider."""
        # Here distribution writes each action on its own.
        scope = " ".join(map(str, question.wanted))
        return bearer_challenge(self._realm, self._service, scope)

    def close(self) -> None:
        """See Provider."""


def bearer_challenge(realm: str, service: str, scope: str, *, error: str = "") -> str:
    """Write a Bearer challenge, its parameters in distribution's order."""
    text = f"Bearer realm={quoted(realm)},service={quoted(service)}"
    if scope:
        text += f",scope={quoted(scope)}"
    return f"{text},error={quoted(error)}" if error else text


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Read ``Basic <base64>`` (RFC 7617); None if it is something else, or broken."""
    if not _has_scheme(authorization, "basic"):
        return None
    try:
        decoded = base64.b64decode(authorization.partition(" ")[2].strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    return (user, password) if colon else None


def _has_scheme(authorization: str, scheme: str) -> bool:
    return authorization.partition(" ")[0].lower() == scheme


def quoted(text: str) -> str:
    """Write a quoted-string (RFC 9110, 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
