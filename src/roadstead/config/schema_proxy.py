"""``proxy`` (registry facts, 1.7): the upstream, its credentials, and our own limits."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from roadstead.config.address import parse_address
from roadstead.config.fields import Duration, Number, Required, SecretText, Section, Wait, as_list
from roadstead.config.refusal import UnusableValueError

DOCKER_HUB = "https://registry-1.docker.io"
MIB = 1024 * 1024


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


def _host(value: str) -> str:
    if "/" in value or not value:
        message = "must be a host name, or host:port"
        raise UnusableValueError(message, fix="leave scheme and path out: auth.example.com")
    if ":" in value:
        parse_address(value)
    return value.lower()


class ExecSettings(Section):
    """``proxy.exec``: a Docker credential helper that is asked for the upstream's credentials.

    ``lifetime`` None: asked once; zero: for each token; else reused for so long.
    """

    command: Required
    lifetime: Duration | None = None


class ProxySettings(Section):
    """``proxy``; ``remoteurl`` never has user information: it becomes username and password."""

    remoteurl: Annotated[str, AfterValidator(_registry_url)] = DOCKER_HUB
    username: str = ""
    password: SecretText | None = None
    exec: ExecSettings | None = None
    tagttl: Duration = timedelta(minutes=1)
    connecttimeout: Wait = timedelta(seconds=10)
    firstbytetimeout: Wait = timedelta(seconds=30)
    stalltimeout: Wait = timedelta(seconds=30)
    maxmanifestsize: Annotated[Number, Field(ge=1)] = 8 * MIB
    maxtransfers: Annotated[Number, Field(ge=1)] = 32
    trustedrealms: Annotated[
        tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(as_list)
    ] = ()

    namespaces: Annotated[
        tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(as_list)
    ] = ()

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
