"""A registry with all the hosts that belong to it, each at an address of its own.

Other hosts are other loopback addresses (127.0.0.2 and so on), so that credentials, redirects
and token realms cross from host to host as they do in the world. Where the system has one
loopback address only, other ports must do.
"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from roadstead.simulator.faults import Fault, RedirectToStorage, RequestKind
from roadstead.simulator.habits import PullLimit
from roadstead.simulator.registry import RequestRecord, ScriptedRegistry, Watch
from roadstead.simulator.tokens import TokenService
from roadstead.simulator.wire import Sleep

IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - marks an account whose password is a refresh token


class Role(StrEnum):
    """What another host is for."""

    TOKENS = "token server"
    STORAGE = "storage"
    WEB = "web site"
    REGION = "regional registry"
    STRANGER = "foreign token server"


@dataclass(frozen=True, slots=True)
class Account:
    """A user name and a password, or an identity token under IDENTITY_TOKEN_USER."""

    user: str
    password: str


@dataclass(slots=True)
class Stage:
    """Running hosts, and the words in which manners are written.

    ``account`` is the only one that may read; without one anybody may. ``bodies`` is the host
    that sends the bytes of blobs.
    """

    registry: ScriptedRegistry
    others: dict[Role, ScriptedRegistry]
    account: Account | None = None
    pull_limit: PullLimit | None = None
    bodies: ScriptedRegistry = field(init=False)
    _bodies_kind: RequestKind = field(init=False, default=RequestKind.BLOB)

    def __post_init__(self) -> None:
        self.bodies = self.registry

    @property
    def hosts(self) -> list[ScriptedRegistry]:
        """Every host, the registry first."""
        return [self.registry, *self.others.values()]

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request that any host has seen."""
        return [record for host in self.hosts for record in host.requests]

    @property
    def trusted_realms(self) -> frozenset[str]:
        """What a mirror has to list as trusted: addresses share no domain."""
        tokens = self.others.get(Role.TOKENS)
        return frozenset() if tokens is None else frozenset({tokens.host})

    async def start(self) -> None:
        """Let every host listen, on the ports they had before."""
        for host in self.hosts:
            await host.start()

    async def stop(self) -> None:
        """Make every host refuse connections."""
        for host in self.hosts:
            await host.stop()

    def follow(self, watch: Watch) -> None:
        """Tell ``watch`` of the requests at every host."""
        for host in self.hosts:
            host.watch = watch

    def knows(self, repository: str) -> bool:
        """Say whether the registry has a repository."""
        return repository in self.registry.repositories

    def ask_for_tokens(
        self,
        path: str,
        *,
        service: str,
        at: Role | None = None,
        scope: str | None = None,
        ping_scope: str = "",
        offers_basic: bool = False,
        refusal: HTTPStatus | None = None,
    ) -> TokenService:
        """Ask for Bearer tokens, which open what exists; see TokenService for the rest."""
        host = self.registry if at is None else self.others[at]
        account = self.account
        users, identity_tokens = {}, frozenset[str]()
        if account is not None and account.user == IDENTITY_TOKEN_USER:
            identity_tokens = frozenset({account.password})
        elif account is not None:
            users = {account.user: account.password}
        tokens = TokenService(
            realm=f"{host.url}{path}",
            service=service,
            users=users,
            identity_tokens=identity_tokens,
            anonymous=account is None,
            scope=scope,
            ping_scope=ping_scope,
            extra_challenges=('Basic realm="registry"',) if offers_basic else (),
            refusal=refusal,
            may_pull=self.knows,
        )
        self.registry.require_bearer(tokens, at=host)
        return tokens

    def ask_for_password(self) -> None:
        """Ask for Basic, if there is an account."""
        if self.account is not None:
            self.registry.require_basic(self.account.user, self.account.password)

    def keep_blobs_elsewhere(
        self, *, status: int = HTTPStatus.TEMPORARY_REDIRECT, method: str | None = None
    ) -> None:
        """Redirect blobs to signed addresses at the storage host, for ``method`` or for all."""
        self.bodies, self._bodies_kind = self.others[Role.STORAGE], RequestKind.STORAGE
        fault = RedirectToStorage(self.bodies, status=status)
        self.registry.inject(fault, kind=RequestKind.BLOB, method=method)

    def redirect_blobs_within(self) -> None:
        """Redirect GETs of blobs to another path of the registry itself, as gcr.io does."""
        fault = RedirectToStorage(self.registry, status=HTTPStatus.FOUND, relative=True)
        self.registry.inject(fault, kind=RequestKind.BLOB, method="GET")
        self._bodies_kind = RequestKind.STORAGE

    def inject_into_bodies(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        min_body_bytes: int = 0,
        label: str = "",
    ) -> None:
        """Let a fault act where the bytes of blobs are sent."""
        self.bodies.inject(
            fault,
            kind=self._bodies_kind,
            method="GET",
            times=times,
            min_body_bytes=min_body_bytes,
            label=label,
        )


@contextlib.asynccontextmanager
async def open_hosts(
    roles: Iterable[Role],
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Stage]:
    """Start a registry at ``address`` and ``port``, and a host for each role.

    Other hosts take the same port at the next loopback addresses, or else the next ports;
    port 0 lets the system choose all of them.

    Raises:
        OSError: an address cannot be bound.
    """
    async with contextlib.AsyncExitStack() as stack:
        registry = ScriptedRegistry(address=address, port=port, sleep=sleep)
        await stack.enter_async_context(registry)
        others: dict[Role, ScriptedRegistry] = {}
        for number, role in enumerate(roles, start=1):
            beside = _beside(address, port, number)
            host = ScriptedRegistry(address=beside[0], port=beside[1], sleep=sleep)
            others[role] = await stack.enter_async_context(host)
        yield Stage(registry, others)


def _beside(address: str, port: int, number: int) -> tuple[str, int]:
    if address == "127.0.0.1" and platform.system() == "Linux":
        return f"127.0.0.{number + 1}", port
    return address, port + number if port else 0
