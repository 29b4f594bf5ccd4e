"""``http`` (registry facts, 1.6): listeners, TLS, headers, and the debug server."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from roadstead.config.address import SocketAddress, parse_address
from roadstead.config.ciphers import ALWAYS_ON, OPENSSL_NAMES
from roadstead.config.fields import Address, Count, Duration, Number, Section, Texts, Wait
from roadstead.config.refusal import UnusableValueError

DEFAULT_ADDRESS = ":5000"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CLASS = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MOST_CLASSES = 20
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")

ClientAuth: TypeAlias = Literal[
    "request-client-cert",
    "require-any-client-cert",
    "verify-client-cert-if-given",
    "require-and-verify-client-cert",
]


def _verifiable(value: ClientAuth) -> ClientAuth:
    if value == "require-any-client-cert":
        message = "asks for a certificate that nobody verifies, which OpenSSL cannot do"
        raise UnusableValueError(message, fix="use require-and-verify-client-cert")
    return value


def _tls_level(value: object) -> object:
    if isinstance(value, str) and value not in {"tls1.2", "tls1.3"}:
        message = f"unknown minimum TLS level {value!r}"  # distribution's words
        raise UnusableValueError(message, fix="use tls1.2, the default, or tls1.3")
    return value


def _known_suites(values: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in values if name not in OPENSSL_NAMES and name not in ALWAYS_ON]
    if unknown:
        message = f"names unknown or unsafe cipher suites: {', '.join(unknown)}"
        raise UnusableValueError(message, fix="leave the key out for the safe default")
    return values


def _sendable(headers: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name, values in headers.items():
        if _TOKEN.fullmatch(name) is None:
            message = f"has a header name that HTTP does not allow: {name!r}"
            raise UnusableValueError(message, fix="use letters, digits and hyphens")
        if any(_CONTROL.search(value) for value in values):
            message = f"has a control character in the value of {name}"
            raise UnusableValueError(message, fix="write the value on one line")
    return headers


def _https(value: str) -> str:
    if value and not value.startswith("https://"):
        message = "is not an https URL"
        raise UnusableValueError(message, fix=f"use the server's directory, such as {LETS_ENCRYPT}")
    return value or LETS_ENCRYPT


def _route(value: str) -> str:
    if not value.startswith("/") or _PATH.fullmatch(value) is None:
        message = "is not a URL path"
        raise UnusableValueError(message, fix="begin it with a slash, such as /metrics")
    return value


def _class_names(classes: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Check the names of classes: each is a label, and makes series of its own."""
    if len(classes) > _MOST_CLASSES:
        message = f"has {len(classes)} classes, and each makes series of its own"
        raise UnusableValueError(message, fix=f"use {_MOST_CLASSES} or fewer")
    for name in classes:
        if _CLASS.fullmatch(name) is None or name == "other":
            message = f"has an unusable name of a class: {name!r}"
            fix = "use lower-case letters, digits and hyphens; other is what no class matches"
            raise UnusableValueError(message, fix=fix)
    return classes


def _location(value: str) -> str:
    if value and (_PATH.fullmatch(value) is None or not (value[0] == value[-1] == "/")):
        message = "is no location of nginx"
        raise UnusableValueError(message, fix="begin and end it with a slash, such as /held/")
    return value


def _base_url(value: str) -> str:
    """Check ``http.host``: a URL with a scheme, as distribution wants it."""
    if value and not value.startswith(("http://", "https://")):
        message = "is not an http or https URL"
        raise UnusableValueError(message, fix="use a URL such as https://mirror.corp:5000")
    return value.rstrip("/")


def _prefix(value: str) -> str:
    """Put the slashes around a prefix; none, and a lone slash, are no prefix."""
    inner = value.strip("/")
    if _PATH.fullmatch(inner) is None:
        message = "is not a URL path"
        raise UnusableValueError(message, fix="use a path such as /mirror/")
    return f"/{inner}/" if inner else ""


class LetsEncryptSettings(Section):
    """``http.tls.letsencrypt``: a certificate from an ACME server; ``cachefile`` turns it on."""

    cachefile: str = ""
    email: str = ""
    hosts: Texts = ()
    directoryurl: Annotated[str, AfterValidator(_https)] = LETS_ENCRYPT
    httpaddr: Address = ":80"

    @property
    def address(self) -> SocketAddress:
        """Where challenges are answered."""
        return parse_address(self.httpaddr or ":80")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.cachefile and not self.hosts:
            message = "has no hosts, so there is nothing to certify"
            raise UnusableValueError(message, fix="list the names that clients use in hosts")
        if self.hosts and not self.cachefile:
            message = "has no cachefile, so TLS would stay off"
            raise UnusableValueError(message, fix="set cachefile to a folder of its own")
        return self


class TLSSettings(Section):
    """``http.tls``; certificates are PEM files."""

    certificate: str = ""
    key: str = ""
    clientcas: Texts = ()
    clientauth: Annotated[ClientAuth, AfterValidator(_verifiable)] = (
        "require-and-verify-client-cert"
    )
    minimumtls: Annotated[Literal["tls1.2", "tls1.3"], BeforeValidator(_tls_level)] = "tls1.2"
    ciphersuites: Annotated[Texts, AfterValidator(_known_suites)] = ()
    letsencrypt: LetsEncryptSettings = LetsEncryptSettings()

    @property
    def enabled(self) -> bool:
        """Whether the main listener speaks TLS."""
        return bool(self.certificate or self.letsencrypt.cachefile)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse half a key pair, and client certificates without TLS.

        distribution serves plain HTTP, open to everybody, when only the certificate is missing.
        """
        if bool(self.certificate) != bool(self.key):
            missing = "key" if self.certificate else "certificate"
            message = f"has no {missing}"
            raise UnusableValueError(message, fix="set both certificate and key, or neither")
        if self.certificate and self.letsencrypt.cachefile:
            message = "has a certificate of its own and letsencrypt"
            raise UnusableValueError(message, fix="keep one of certificate and letsencrypt")
        if self.clientcas and not self.enabled:
            message = "has client authorities but no certificate, so no client would be checked"
            raise UnusableValueError(message, fix="set certificate and key, or drop clientcas")
        return self


class PrometheusSettings(Section):
    """``http.debug.prometheus``."""

    enabled: bool = False
    path: Annotated[str, AfterValidator(_route)] = "/metrics"
    classes: Annotated[dict[str, Texts], AfterValidator(_class_names)] = Field(default_factory=dict)


class DebugSettings(Section):
    """``http.debug``: a second listener, plain HTTP, for operators only; empty is off."""

    addr: Address = ""
    prometheus: PrometheusSettings = PrometheusSettings()

    @property
    def address(self) -> SocketAddress | None:
        """Where to listen, or None if the debug server is off."""
        return parse_address(self.addr) if self.addr else None


class LimitSettings(Section):
    """``http.limits``: what clients may take of the mirror; generous enough for any team."""

    connections: Count = 0
    connectionsperclient: Count = 0
    requestspersecond: Count = 0
    headersize: Annotated[Number, Field(ge=4096)] = 64 * 1024
    idletimeout: Wait = timedelta(seconds=75)
    stalltimeout: Wait = timedelta(seconds=60)


class HTTPSettings(Section):
    """``http``."""

    net: Literal["tcp", "unix"] = "tcp"
    addr: str = DEFAULT_ADDRESS
    prefix: Annotated[str, AfterValidator(_prefix)] = ""
    host: Annotated[str, AfterValidator(_base_url)] = ""
    draintimeout: Duration = timedelta(seconds=10)
    shutdowndelay: Duration = timedelta(0)
    workers: Annotated[Number, Field(ge=1, le=64)] = 1
    accelredirect: Annotated[str, AfterValidator(_location)] = ""
    headers: Annotated[dict[str, Texts], AfterValidator(_sendable)] = Field(default_factory=dict)
    tls: TLSSettings = TLSSettings()
    debug: DebugSettings = DebugSettings()
    limits: LimitSettings = LimitSettings()

    @property
    def address(self) -> SocketAddress | Path:
        """Where to listen: an address, or the path of a socket."""
        return Path(self.addr) if self.net == "unix" else parse_address(self.addr)

    @field_validator("addr")
    @classmethod
    def _suits_net(cls, value: str, info: ValidationInfo) -> str:
        """Check addr for its net; empty is the default, where distribution has a random port."""
        if info.data.get("net") != "unix":
            parse_address(value or DEFAULT_ADDRESS)
            return value or DEFAULT_ADDRESS
        if not value.startswith("/"):
            message = "is not the absolute path of a socket, as net: unix wants"
            raise UnusableValueError(message, fix="use a path such as /run/roadstead.sock")
        return value
