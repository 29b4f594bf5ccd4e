"""Upstreams with several endpoints and accounts, over scripted registries."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from roadstead.secrecy import Secret
from roadstead.simulator.faults import Fault, RequestKind, Stall, Status
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.simulator.wire import HttpRequest, Reply
from roadstead.telemetry.events import Event
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.credentials import Credentials, StaticCredentials
from roadstead.upstream.endpoints import Member
from roadstead.upstream.failover import FailoverUpstream
from roadstead.upstream.limits import CallLimit
from roadstead.upstream.retry import Retries
from roadstead.upstream.timeouts import Timeouts
from tests.support.clock import Clock

# Nothing on loopback takes so long, however busy the machine is.
PATIENT = Timeouts(connect=50, first_byte=50, stall=50, total=50)
# Towards an endpoint that is silent on purpose; a small call may take the sum of the first two.
IMPATIENT = Timeouts(connect=0.5, first_byte=0.3, stall=0.3, total=50)


@dataclass
class Pool:
    """An upstream under test, and what it told."""

    upstream: FailoverUpstream
    clock: Clock
    events: list[Event] = field(default_factory=list)


@asynccontextmanager
async def make_pool(
    *endpoints: str,
    accounts: Sequence[str] = ("",),
    name: str = "docker.io",
    store_prefix: str = "",
    limit: CallLimit | None = None,
    first: Timeouts = PATIENT,
) -> AsyncIterator[Pool]:
    """Ask each endpoint as each account (its password is its name); no pause is jittered.

    ``first`` is the patience with the first endpoint; there is no end to that with the others.
    """
    clock = Clock()
    events: list[Event] = []
    members = [
        Member(url, account or "anonymous", _client(url, account, PATIENT if number else first))
        for number, url in enumerate(endpoints)
        for account in accounts
    ]
    upstream = FailoverUpstream(
        name,
        members,
        store_prefix=store_prefix,
        observe=events.append,
        limit=limit,
        clock=clock,
        wall_clock=clock,
        random=lambda: 1.0,
    )
    async with upstream:
        yield Pool(upstream, clock, events)


def patience_with(fault: Fault) -> Timeouts:
    """Return how long to wait for an endpoint with this fault: for silence, not long."""
    return IMPATIENT if isinstance(fault, Stall) else PATIENT


def _client(url: str, account: str, timeouts: Timeouts) -> RegistryUpstream:
    credentials = Credentials(account, Secret(account)) if account else None
    return RegistryUpstream(
        url,
        credentials=StaticCredentials(credentials),
        timeouts=timeouts,
        retries=Retries(attempts=1),
    )


@dataclass
class Accounts:
    """Basic authentication for several users, whose passwords are their names."""

    names: set[str]

    def challenges(self, *_request: str) -> list[str]:
        """Ask for Basic."""
        return ['Basic realm="scripted"']

    def admits(self, authorization: str, _repository: str) -> bool:
        """Look the user up."""
        return _user(authorization) in self.names


@dataclass
class Quotas:
    """A fault that keeps Docker Hub's books for each user: GETs count, HEADs tell."""

    remaining: dict[str, int]
    limit: int = 100
    retry_after: str | None = None
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Count, tell what is left, and refuse what is too much."""
        user = _user(request.headers.get("authorization", ""))
        self.asked.append(user)
        if request.method == "GET":
            if self.remaining[user] <= 0:
                headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
                Status(HTTPStatus.TOO_MANY_REQUESTS, headers=headers)(request, reply)
                return
            self.remaining[user] -= 1
        reply.set("RateLimit-Limit", f"{self.limit};w=21600")
        reply.set("RateLimit-Remaining", f"{self.remaining[user]};w=21600")


def require_accounts(registry: ScriptedRegistry, quotas: Quotas) -> None:
    """Let ``registry`` admit the users of ``quotas`` only, and keep their books."""
    registry.authentication = Accounts({*quotas.remaining})
    registry.inject(quotas, kind=RequestKind.MANIFEST)


def _user(authorization: str) -> str:
    encoded = authorization.removeprefix("Basic ")
    return base64.b64decode(encoded).decode().partition(":")[0] if encoded else ""
