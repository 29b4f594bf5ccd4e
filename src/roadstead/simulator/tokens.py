"""Authentication as registries do it: none, Basic, or Bearer with a token server.

Source: distribution's token specification, and the varieties of facts/protocol.md, sections
3 and 4. Faults of the token end point itself (slow, 5xx, redirects) are injected like any other.
"""

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Protocol
from urllib.parse import parse_qs

from roadstead.simulator.wire import HttpRequest, Reply

TOKEN_PATH = "/token"  # noqa: S105 - a path
TOKEN_PATHS = frozenset(
    {
        TOKEN_PATH,
        "/token/",  # public.ecr.aws
        "/v2/token",  # gcr.io
        "/v2/auth",  # quay.io
        "/oauth2/token",  # Azure
        "/jwt/auth",  # GitLab
        "/proxy_auth",  # nvcr.io
        "/service/token",  # Harbor
    }
)
"""Where registries have their token end points."""


class Authentication(Protocol):
    """Decides who may read."""

    def challenges(self, authorization: str, repository: str, /) -> list[str]:
        """Return the WWW-Authenticate values for a request that ``admits`` refused."""

    def admits(self, authorization: str, repository: str, /) -> bool:
        """Check an Authorization header; ``repository`` is empty for ``/v2/``."""


@dataclass(slots=True)
class BasicAuthentication:
    """One user with a password."""

    user: str
    password: str

    def challenges(self, _authorization: str, _repository: str) -> list[str]:
        """Ask for Basic."""
        return ['Basic realm="scripted"']

    def admits(self, authorization: str, _repository: str) -> bool:
        """Compare user and password."""
        return _basic(authorization) == (self.user, self.password)


@dataclass(slots=True, kw_only=True)
class TokenService:
    """A token server's state and manners.

    ``users`` maps names to passwords; ``identity_tokens`` are the refresh tokens it takes.
    ``scope`` is a fixed scope asked for in place of the repository's (public.ecr.aws: ``aws``);
    ``field_name`` and ``announce_life`` choose what stands in the answer; ``methods`` which
    flows exist. ``may_pull`` says which repositories a token opens (None: all); where it opens
    none, ``refusal`` is the end point's own answer (ghcr.io), else the registry refuses the
    token. ``ping_scope`` is asked for on ``/v2/``; ``expired_realm`` stands in the challenge
    to a token that is no longer good (nvcr.io).
    """

    realm: str
    service: str = "scripted.registry"
    users: Mapping[str, str] = field(default_factory=dict)
    identity_tokens: frozenset[str] = frozenset()
    anonymous: bool = True
    life_seconds: float = 300
    announce_life: bool = True
    field_name: str = "token"
    methods: frozenset[str] = frozenset({"GET", "POST"})
    scope: str | None = None
    extra_challenges: tuple[str, ...] = ()
    may_pull: Callable[[str], bool] | None = None
    refusal: HTTPStatus | None = None
    ping_scope: str = ""
    expired_realm: str = ""
    clock: Callable[[], float] = time.monotonic
    _grants: dict[str, tuple[frozenset[str], float]] = field(default_factory=dict)
    _serial: "count[int]" = field(default_factory=lambda: count(1))

    def challenges(self, authorization: str, repository: str) -> list[str]:
        """Ask for Bearer, with the scope where a repository is concerned, and say what is wrong."""
        error = self._error(authorization)
        expired = error == "invalid_token" and self.expired_realm
        parameters = {
            "realm": self.expired_realm if expired else self.realm,
            "service": self.service,
            "scope": self._needed(repository) or self.ping_scope,
            "error": error,
        }
        given = ",".join(f'{name}="{value}"' for name, value in parameters.items() if value)
        return [*self.extra_challenges, f"Bearer {given}"]

    def admits(self, authorization: str, repository: str) -> bool:
        """Check the token's life and scope."""
        scopes = self._scopes(authorization)
        if scopes is None:
            return False
        return not repository or self._needed(repository) in scopes

    def revoke_all(self) -> None:
        """Forget every token that was issued."""
        self._grants.clear()

    def answer(self, request: HttpRequest) -> Reply:
        """Issue a token, or say why not."""
        if request.method not in self.methods:
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"details": "method not allowed"})
        form = parse_qs(request.body.decode()) if request.method == "POST" else request.query
        if form.get("service", [""])[0] != self.service:
            return _json(HTTPStatus.BAD_REQUEST, {"details": "unknown service"})
        if not self._knows(request, form):
            return _json(HTTPStatus.UNAUTHORIZED, {"details": "incorrect username or password"})
        asked = frozenset(" ".join(form.get("scope", [])).split())
        scopes = frozenset(filter(self._opens, asked))
        if self.refusal is not None and asked and not scopes:
            error = {"code": "DENIED", "message": "requested access to the resource is denied"}
            return _json(self.refusal, {"errors": [error]})
        token = f"s1mul4ted-token-{next(self._serial)}"
        self._grants[token] = (scopes, self.clock() + self.life_seconds)
        document: dict[str, object] = {self.field_name: token}
        if self.announce_life:
            document["expires_in"] = int(self.life_seconds)
        return _json(HTTPStatus.OK, document)

    def _scopes(self, authorization: str) -> frozenset[str] | None:
        """Return what a token that is good opens; None for any other header."""
        scheme, _, token = authorization.partition(" ")
        scopes, ends = self._grants.get(token, (frozenset(), 0.0))
        return None if scheme.lower() != "bearer" or self.clock() >= ends else scopes

    def _error(self, authorization: str) -> str:
        if not authorization.lower().startswith("bearer "):
            return ""
        return "invalid_token" if self._scopes(authorization) is None else "insufficient_scope"

    def _opens(self, scope: str) -> bool:
        kind, _, rest = scope.partition(":")
        if kind != "repository" or self.may_pull is None:
            return True
        return self.may_pull(rest.rpartition(":")[0])

    def _needed(self, repository: str) -> str:
        if self.scope is not None:
            return self.scope
        return f"repository:{repository}:pull" if repository else ""

    def _knows(self, request: HttpRequest, form: Mapping[str, list[str]]) -> bool:
        grant, *_ = form.get("grant_type", [""])
        if grant == "refresh_token":
            return form.get("refresh_token", [""])[0] in self.identity_tokens
        if grant == "password":
            user, password = (form.get(name, [""])[0] for name in ("username", "password"))
            return (user, password) in self.users.items()
        authorization = request.headers.get("authorization")
        if authorization is None:
            return self.anonymous
        pair = _basic(authorization)
        return pair is not None and pair in self.users.items()


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def _json(status: HTTPStatus, document: Mapping[str, object]) -> Reply:
    reply = Reply(status=status)
    reply.fill(json.dumps(document).encode(), "application/json")
    return reply
