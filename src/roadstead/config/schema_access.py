"""``auth`` (registry facts, 1.4) and ``access``: who may pull what."""

import re
from ipaddress import ip_network
from typing import Annotated, Final, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from roadstead.config.fields import Required, SecretText, Section, Texts, as_list
from roadstead.config.refusal import UnusableValueError
from roadstead.config.schema_proxy import Patterns
from roadstead.secrecy import Secret

UNIX: Final = "unix"

_WORDS: Final = frozenset({"everybody", "authenticated"})
_KINDS: Final = ("user", "group", "certificate", "organization", "header")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TAKEN_HEADERS: Final = frozenset({"authorization", "host", "x-forwarded-for"})

ALGORITHMS: Final = (
    *("EdDSA", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512"),
    *("ES256", "ES384", "ES512", "PS256", "PS384", "PS512"),
)
"""The algorithms of distribution 3; a key signs with those of its own kind only."""


def _known_algorithms(values: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in values if name not in ALGORITHMS]
    if unknown:
        message = f"names unknown algorithms: {', '.join(unknown)}"
        raise UnusableValueError(message, fix=f"use some of {', '.join(ALGORITHMS)}")
    return values or ALGORITHMS


def _rooted(value: str) -> str:
    return value if value.startswith("/") else f"/{value}"


def _network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        message = "is not a network"
        try:
            fix = f"use {ip_network(value, strict=False)}"
        except ValueError:
            fix = "use an address with a prefix, such as 10.0.0.0/8 or fd00::/8"
        raise UnusableValueError(message, fix=fix) from None
    return value


def _proxy(value: str) -> str:
    return value if value == UNIX else _network(value)


def _principal(value: str) -> str:
    kind, _, name = value.partition(":")
    if value in _WORDS or (kind in _KINDS and name):
        return value
    message = "is no principal"
    fix = f"use everybody, authenticated, or a kind and a name: {', '.join(_KINDS)}"
    raise UnusableValueError(message, fix=f"{fix}, such as user:alice or group:*")


def _header_name(value: str) -> str:
    if _HEADER.fullmatch(value) is None or value.lower() in _TAKEN_HEADERS:
        message = "cannot be the name of a shared header"
        raise UnusableValueError(message, fix="use a name of your own, such as X-Mirror-Key")
    return value


def _filled(value: Secret) -> Secret:
    if not value.reveal():
        message = "is empty, so everybody could show it"
        raise UnusableValueError(message, fix="make one with: openssl rand -hex 32")
    return value


Networks: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(as_list)
]
Proxies: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_proxy)], ...], BeforeValidator(as_list)
]
Principals: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_principal)], ...], BeforeValidator(as_list)
]


class SillySettings(Section):
    """``auth.silly``."""

    realm: Required
    service: Required


class HtpasswdSettings(Section):
    """``auth.htpasswd``."""

    realm: Required
    path: Required


class TokenSettings(Section):
    """``auth.token``: tokens of a token server."""

    realm: str = ""
    service: Required
    issuer: Required
    rootcertbundle: str = ""
    jwks: str = ""
    signingalgorithms: Annotated[Texts, AfterValidator(_known_algorithms)] = ALGORITHMS
    autoredirect: bool = False
    autoredirectpath: Annotated[Required, AfterValidator(_rooted)] = "/auth/token"

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.rootcertbundle and not self.jwks:
            message = "has no key to verify tokens with"
            raise UnusableValueError(message, fix="set rootcertbundle or jwks")
        if not self.realm and not self.autoredirect:
            message = "has no realm, so no client would know where to get a token"
            raise UnusableValueError(message, fix="set realm to the token server's URL")
        return self


class AuthSettings(Section):
    """``auth``: at most one provider."""

    silly: SillySettings | None = None
    htpasswd: HtpasswdSettings | None = None
    token: TokenSettings | None = None

    @property
    def is_set(self) -> bool:
        """Whether clients are asked for credentials."""
        return any(one is not None for one in (self.silly, self.htpasswd, self.token))


class SharedHeaderSettings(Section):
    """``access.headers[]``."""

    name: Annotated[Required, AfterValidator(_header_name)]
    secret: Annotated[SecretText, AfterValidator(_filled)]
    identity: Required


class RuleSettings(Section):
    """``access.rules[]``: one of allow and deny, and for what it holds."""

    allow: Principals = ()
    deny: Principals = ()
    networks: Networks = ()
    upstreams: Texts = ()
    repositories: Patterns = ()

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if bool(self.allow) == bool(self.deny):
            message = "must have allow or deny, and not both"
            raise UnusableValueError(message, fix="write one rule for each")
        return self


class AccessSettings(Section):
    """``access``: networks, proofs and rules."""

    trustedproxies: Proxies = ()
    allownetworks: Networks = ()
    denynetworks: Networks = ()
    headers: tuple[SharedHeaderSettings, ...] = ()
    groups: dict[str, Principals] = Field(default_factory=dict)
    admins: Principals = ()
    checkupstream: Texts = ()
    rules: tuple[RuleSettings, ...] = ()
