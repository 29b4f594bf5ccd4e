"""What a Docker configuration file knows about one registry.

Source: docker/cli (config.json), containers-auth.json(5), and Kubernetes' secrets of the types
``dockerconfigjson`` (the same) and ``dockercfg`` (the map of accounts alone);
facts/protocol.md, section 4.1.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from roadstead.oci.reference import RepositoryName
from roadstead.secrecy import Secret
from roadstead.upstream.credentials import IDENTITY_TOKEN_USER, Credentials
from roadstead.upstream.serverkeys import ServerKey

_SECTIONS = frozenset({"auths", "credHelpers", "credsStore"})
_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")
_SUFFIX = re.compile(r"[\w-][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Helper:
    """A program, and the server that it is asked about."""

    program: str
    server: str


@dataclass(frozen=True, slots=True)
class Account:
    """An account, and what it is for."""

    key: ServerKey
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class DockerAuths:
    """The programs to ask, in this order, and then the accounts."""

    helpers: tuple[Helper, ...]
    accounts: tuple[Account, ...]

    def account_for(self, repository: RepositoryName) -> Credentials | None:
        """Return the account with the longest key that covers a repository."""
        fitting = [each for each in self.accounts if each.key.covers_repository(repository)]
        best = max(fitting, key=lambda account: account.key.rank, default=None)
        return None if best is None else best.credentials


def read_docker_auths(content: bytes, server: ServerKey) -> DockerAuths:
    """Read what a file says about ``server``; entries for others are not looked at.

    Raises:
        ValueError: it cannot be understood. The message, and all that is behind it, repeats
            nothing of the content.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        message = "is no JSON"
        raise ValueError(message) from None
    if not isinstance(document, dict):
        message = "is no JSON object"
        raise ValueError(message)  # noqa: TRY004 - a fault of the file, like the others
    auths = document if _SECTIONS.isdisjoint(document) else _section(document, "auths")
    keys = {text: ServerKey.parse(text) for text in auths}
    found = (
        (key, _credentials(auths[text], server))
        for text, key in keys.items()
        if key.covers_host(server.host)
    )
    accounts = tuple(Account(key, account) for key, account in found if account is not None)
    return DockerAuths(_helpers(document, server), accounts)


def _section(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = document.get(name) or {}
    if not isinstance(section, dict):
        message = f"has {name} that are no JSON object"
        raise ValueError(message)  # noqa: TRY004 - a fault of the file, like the others
    return section


def _helpers(document: Mapping[str, object], server: ServerKey) -> tuple[Helper, ...]:
    """Find the registry's own helper, then the store for all."""
    programs = []
    for text, suffix in _section(document, "credHelpers").items():
        key = ServerKey.parse(text)
        if key == ServerKey(server.host):
            if suffix == "":
                # Docker's way to except a registry from the store.
                return ()
            programs.append(Helper(_program(suffix, "credHelpers"), text))
    store = document.get("credsStore") or ""
    if store:
        programs.append(Helper(_program(store, "credsStore"), server.in_stores))
    return tuple(programs)


def _program(suffix: object, section: str) -> str:
    if not isinstance(suffix, str) or _SUFFIX.fullmatch(suffix) is None:
        message = f"names a program in {section} that cannot be one"
        raise ValueError(message)
    return f"docker-credential-{suffix}"


def _credentials(entry: object, server: ServerKey) -> Credentials | None:
    """Read one entry; an empty one, as Docker leaves beside a store, is none."""
    unreadable = f"has an entry for {server.host} that cannot be read"
    if not isinstance(entry, dict):
        raise ValueError(unreadable)  # noqa: TRY004 - a fault of the file, like the others
    fields = {name: entry.get(name) or "" for name in _FIELDS}
    if not all(isinstance(value, str) for value in fields.values()):
        raise ValueError(unreadable)
    if fields["registrytoken"]:
        return Credentials("", Secret(fields["registrytoken"]), is_bearer=True)
    if fields["identitytoken"]:
        return Credentials(IDENTITY_TOKEN_USER, Secret(fields["identitytoken"]))
    pair = fields["username"], fields["password"]
    if fields["auth"]:
        try:
            pair = _decode(fields["auth"])
        except ValueError:
            raise ValueError(unreadable) from None
    username, password = pair
    return Credentials(username, Secret(password)) if username or password else None


def _decode(auth: str) -> tuple[str, str]:
    try:
        text = base64.b64decode("".join(auth.split()), validate=True).decode()
    except (binascii.Error, UnicodeError):
        message = "is no Base64 of a text"
        raise ValueError(message) from None
    username, colon, password = text.partition(":")
    if not colon:
        message = "is no user name and password"
        raise ValueError(message)
    return username, password.strip("\0")
