"""``proxy`` (registry facts, 1.7) and ``upstreams``: upstreams, their credentials and limits."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from roadstead.config.address import SocketAddress, parse_address
from roadstead.config.fields import (
    Address,
    Age,
    Duration,
    Number,
    Required,
    SecretText,
    Section,
    Wait,
    as_list,
)
from roadstead.config.refusal import UnusableValueError
from roadstead.config.schema_retention import UpstreamRetentionSettings
from roadstead.oci.platform import Platform

DOCKER_HUB = "https://registry-1.docker.io"
MIB = 1024 * 1024

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?::[0-9]+)?")


def _registry_url(value: str) -> str:
    """Check a registry's base URL and cut its trailing slash; a path component stays."""
    if "://" not in value:
        message = "has no scheme"
        raise UnusableValueError(message, fix=f"use https://{value.lstrip('/').rpartition('@')[2]}")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        message = "is not a URL"
        raise UnusableValueError(message, fix=f"use a URL such as {DOCKER_HUB}") from None
    if parts.scheme not in {"http", "https"}:
        message = f"has the scheme {parts.scheme}"
        raise UnusableValueError(message, fix="use https:// (or http://)")
    if not host or any(character.isspace() for character in value):
        message = "has no usable host name"
        raise UnusableValueError(message, fix=f"use a URL such as {DOCKER_HUB}")
    if parts.query or parts.fragment:
        message = "has a query or a fragment"
        raise UnusableValueError(message, fix="end the URL with the host or a path")
    return value.rstrip("/")


def _optional_registry_url(value: str) -> str:
    return _registry_url(value) if value else ""


def _host(value: str) -> str:
    if "/" in value or not value:
        message = "must be a host name, or host:port"
        raise UnusableValueError(message, fix="leave scheme and path out: auth.example.com")
    if ":" in value:
        parse_address(value)
    return value.lower()


def upstream_name(value: str) -> str:
    """Check a name that can stand as the first component of an image reference."""
    if _NAME.fullmatch(value) is None:
        message = "has a name that cannot stand in an image reference"
        raise UnusableValueError(message, fix="use a host name, or lower-case letters and digits")
    return value


def _pattern(value: str) -> str:
    """Check a pattern over repository names, ``library/*`` or ``org/**``."""
    if not value or any(character.isspace() for character in value):
        message = "is no pattern of repository names"
        raise UnusableValueError(message, fix="write names with * and ?, such as library/*")
    return value


def _off(value: object) -> object:
    """Read YAML's ``off``, which is a boolean there."""
    return "off" if value is False else value


def _platform(value: str) -> str:
    try:
        Platform.parse(value)
    except ValueError:
        message = "is no platform"
        raise UnusableValueError(message, fix="write linux/amd64 or linux/arm64/v8") from None
    return value.lower()


Hosts: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(as_list)
]
Patterns: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(as_list)
]
Platforms: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_platform)], ...], BeforeValidator(as_list)
]
Prefetch: TypeAlias = Annotated[Literal["off", "platforms"], BeforeValidator(_off)]
RegistryURL: TypeAlias = Annotated[str, AfterValidator(_registry_url)]


class ExecSettings(Section):
    """``exec``: a Docker credential helper that is asked for the upstream's credentials.

    ``lifetime`` None: asked once; zero: for each token; else reused for so long.
    """

    command: Required
    lifetime: Duration | None = None


class AccountSettings(Section):
    """``accounts[]``: one of several accounts at the same upstream."""

    username: Required
    password: SecretText


class UpstreamSettings(Section):
    """What is said of one upstream, under ``proxy`` or ``upstreams.<name>``.

    ``remoteurl`` never has user information: it becomes username and password.
    """

    remoteurl: RegistryURL
    endpoints: Annotated[tuple[RegistryURL, ...], BeforeValidator(as_list)] = ()
    aliases: Hosts = ()
    username: str = ""
    password: SecretText | None = None
    exec: ExecSettings | None = None
    accounts: tuple[AccountSettings, ...] = ()
    credentialsfile: str = ""
    trustedrealms: Hosts = ()
    ca: str = ""
    clientcertificate: str = ""
    clientkey: str = ""
    insecure: bool = False
    httpproxy: str = ""
    tagttl: Duration = timedelta(minutes=1)
    immutabletags: Patterns = ()
    staleforhours: Annotated[Number, Field(ge=0)] = 0
    allow: Patterns = ()
    deny: Patterns = ()
    platforms: Platforms = ()
    connecttimeout: Wait = timedelta(seconds=10)
    firstbytetimeout: Wait = timedelta(seconds=30)
    stalltimeout: Wait = timedelta(seconds=30)
    maxmanifestsize: Annotated[Number, Field(ge=1)] = 8 * MIB
    maxtransfers: Annotated[Number, Field(ge=1)] = 32
    prefetch: Prefetch = "off"
    tracecontext: bool = False
    blobconnections: Annotated[Number, Field(ge=1, le=16)] = 4
    retention: UpstreamRetentionSettings = UpstreamRetentionSettings()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Refuse half a client certificate."""
        if bool(self.clientcertificate) != bool(self.clientkey):
            message = "has a client certificate without its key, or the other way round"
            raise UnusableValueError(message, fix="set both clientcertificate and clientkey")
        return self

    @model_validator(mode="before")
    @classmethod
    def _take_user_information(cls, data: object) -> object:
        """Move ``https://user:password@host`` into the keys that mask it; these win."""
        if not isinstance(data, dict):
            return data
        fields = {key: value for key, value in data.items() if value != ""}
        url = fields.get("remoteurl")
        if isinstance(url, str):
            fields |= _split_user_information(url, fields)
        return fields


class ProxySettings(UpstreamSettings):
    """``proxy``: the default upstream."""

    remoteurl: RegistryURL = DOCKER_HUB
    ttl: Age | None = None


class NamedUpstreamSettings(UpstreamSettings):
    """``upstreams.<name>``: a further upstream, and how clients reach it beside its name."""

    remoteurl: Annotated[str, AfterValidator(_optional_registry_url)] = ""
    listen: Address = ""
    hosts: Hosts = ()

    @property
    def address(self) -> SocketAddress | None:
        """Where this upstream has a listener of its own, if anywhere."""
        return parse_address(self.listen) if self.listen else None


class MirrorSettings(Section):
    """``mirror``: what concerns all upstreams."""

    offline: bool = False
    wellknown: bool = True


def _split_user_information(url: str, given: dict[str, object]) -> dict[str, object]:
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if not separator or not at:
        return {}
    username, _, password = userinfo.partition(":")
    split: dict[str, object] = {"remoteurl": f"{scheme}://{host}{slash}{path}"}
    if not given.get("username"):
        split["username"] = unquote(username)
        if password:
            split["password"] = unquote(password)
    return split
