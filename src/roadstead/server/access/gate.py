"""The gate: every request of the read API passes it before a handler sees it."""

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web

from roadstead.errors import AccessDeniedError, AuthenticationRequiredError, RoadsteadError
from roadstead.mirror.mirrors import Mirrors
from roadstead.mirror.routing import Destination
from roadstead.oci.reference import RepositoryName
from roadstead.secrecy import Secret
from roadstead.server.access.callers import CallerCheck
from roadstead.server.access.certificates import certificate_identities
from roadstead.server.access.networks import NOWHERE, Address, Networks, client_address, site_of
from roadstead.server.access.policy import Caller, Identity, Policy, Principals, Rule
from roadstead.server.access.providers import Proof, Provider, Question
from roadstead.server.access.scopes import wanted_access
from roadstead.server.endpoints import Base, CatalogEndpoint, Endpoint
from roadstead.server.incoming import Incoming

# The repository's name in the path is the whole story only if the path alone decided: what
# ``?ns=``, a listener or a Host header decided would let one token open two repositories.
_BY_PATH: Final = frozenset({"path", "default"})


@dataclass(frozen=True, slots=True)
class SharedHeader:
    """A header that a client's configuration can add, and who shows it (facts/protocol.md 2.3)."""

    name: str
    value: Secret
    identity: str

    def is_shown(self, headers: Iterable[str]) -> bool:
        """Compare in a time that tells nothing of the value."""
        expected = self.value.reveal().encode()
        return any(
            hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected)
            for given in headers
        )


class Gate:
    """Finds out who asks, and lets the policy decide."""

    def __init__(
        self,
        policy: Policy,
        *,
        mirrors: Mirrors,
        provider: Provider | None = None,
        headers: tuple[SharedHeader, ...] = (),
        trusted_proxies: Networks = NOWHERE,
        check: CallerCheck | None = None,
    ) -> None:
        """``mirrors`` tells which upstream a request means; ``provider`` reads Authorization.

        So does ``check``, on behalf of upstream; there is one of the two.
        """
        self._policy = policy
        self._mirrors = mirrors
        self._provider = provider
        self._headers = headers
        self._trusted = trusted_proxies
        self._check = check
        self.is_open = policy.is_open and provider is None and check is None

    async def authorise(self, incoming: Incoming, endpoint: Endpoint) -> None:
        """Let a request through, or raise what its answer is.

        Raises:
            AuthenticationRequiredError: it may be let through once the caller has proved who
                it is, or what was shown as a proof is none.
            AccessDeniedError: it is not for this caller.
            TooManyAttemptsError: see PasswordChecker and CallerCheck.
            UnknownContentError, UpstreamError: see CallerCheck.
        """
        address = self._admitted(incoming.request)
        destination = self._destination(incoming, endpoint)
        question = _question(incoming, endpoint, destination, site_of(address))
        caller, proof = await self._identify(incoming.request, address, question)
        incoming.caller = str(caller) if caller.identities else ""
        incoming.may_delete = incoming.method == "DELETE" and self._policy.is_admin(caller)
        if self._allows(destination, caller):
            if isinstance(endpoint, CatalogEndpoint) and not self.is_open:
                incoming.may_list = partial(self._may_list, caller)
            if self._check is not None:
                await self._ask_upstream(self._check, endpoint, destination, question)
            return
        if self._provider is not None and not proof.identities:
            raise self._challenge(self._provider, question)
        message = f"this mirror does not let {caller} pull {_purpose(destination)}"
        raise AccessDeniedError(message)

    async def admin(self, request: web.BaseRequest) -> str:
        """Return who the caller is, if it is an admin.

        Raises:
            As ``authorise``.
        """
        address = self._admitted(request)
        question = Question(request.headers.get("Authorization", ""), site=site_of(address))
        caller, proof = await self._identify(request, address, question)
        if self._policy.is_admin(caller):
            return str(caller)
        if self._provider is not None and self._policy.admins and not proof.identities:
            raise self._challenge(self._provider, question)
        message = f"this mirror does not let {caller} steer it; access.admins says who may"
        raise AccessDeniedError(message)

    def client(self, request: web.BaseRequest) -> str:
        """Return the client's address as text, as far as trusted proxies tell it."""
        forwarded_for = request.headers.getall("X-Forwarded-For", ())
        return str(client_address(peer_of(request), forwarded_for, self._trusted) or "")

    async def aclose(self) -> None:
        """Let go of what provider and check hold."""
        if self._provider is not None:
            self._provider.close()
        if self._check is not None:
            await self._check.aclose()

    @staticmethod
    async def _ask_upstream(
        check: CallerCheck,
        endpoint: Endpoint,
        destination: Destination | None,
        question: Question,
    ) -> None:
        if destination is None:
            if isinstance(endpoint, Base):
                check.greet(question)
        elif check.concerns(destination.upstream):
            await check.require(destination, endpoint, question)

    def _admitted(self, request: web.BaseRequest) -> Address | None:
        """Return the client's address, if it is in a network from which anything may be asked."""
        forwarded_for = request.headers.getall("X-Forwarded-For", ())
        address = client_address(peer_of(request), forwarded_for, self._trusted)
        if not self._policy.admits(address):
            message = f"this mirror does not serve {address or 'this address'}"
            raise AccessDeniedError(message)
        return address

    async def _identify(
        self, request: web.BaseRequest, address: Address | None, question: Question
    ) -> tuple[Caller, Proof]:
        proof = Proof()
        if self._provider is not None:
            proof = await self._provider.examine(question)
            if proof.error is not None:
                raise self._challenge(self._provider, question, proof.error)
        shown = proof.identities | frozenset(self._shown(request))
        return self._policy.with_groups(Caller(address, shown)), proof

    def _allows(self, destination: Destination | None, caller: Caller) -> bool:
        if destination is None:
            # No repository is meant, or one that no upstream of ours has: the handler says so.
            return self._policy.may_enter(caller)
        return self._policy.may_read(caller, destination.upstream, destination.own_name)

    def _may_list(self, caller: Caller, stored: RepositoryName) -> bool:
        upstream, own_name = self._mirrors.owner(stored)
        if self._check is not None and self._check.concerns(upstream):
            return False
        return self._policy.may_read(caller, upstream, own_name)

    def _destination(self, incoming: Incoming, endpoint: Endpoint) -> Destination | None:
        if isinstance(endpoint, (Base, CatalogEndpoint)):
            return None
        try:
            return self._mirrors.find(endpoint.repository, incoming.hints)[1]
        except RoadsteadError:
            return None

    def _shown(self, request: web.BaseRequest) -> Iterator[Identity]:
        for header in self._headers:
            if header.is_shown(request.headers.getall(header.name, ())):
                yield Identity("header", header.identity)
        yield from certificate_identities(request)

    @staticmethod
    def _challenge(
        provider: Provider, question: Question, error: str = ""
    ) -> AuthenticationRequiredError:
        return AuthenticationRequiredError(
            provider.challenge(question, error),
            wanted=[access.detail() for access in question.wanted],
        )


def peer_of(request: web.BaseRequest) -> str | None:
    """Return the host of the TCP peer, None on a unix socket."""
    transport = request.transport
    name = transport.get_extra_info("peername") if transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else None


def open_gate(mirrors: Mirrors) -> Gate:
    """Make the gate of a mirror that everybody may read and nobody may change."""
    return Gate(
        Policy((Rule(allows=True, principals=Principals(everybody=True)),)), mirrors=mirrors
    )


def _question(
    incoming: Incoming, endpoint: Endpoint, destination: Destination | None, site: str
) -> Question:
    asked = "" if isinstance(endpoint, (Base, CatalogEndpoint)) else endpoint.repository
    headers = incoming.request.headers
    aliases = {asked} if destination is not None and destination.by in _BY_PATH else set()
    return Question(
        authorization=headers.get("Authorization", ""),
        wanted=wanted_access(
            incoming.method, endpoint, asked if destination is None else destination.repository
        ),
        aliases=frozenset(aliases),
        site=site,
        host=headers.get("Host", ""),
    )


def _purpose(destination: Destination | None) -> str:
    if destination is None:
        return "anything"
    return f"{destination.own_name} of {destination.upstream}"


def require_admin(incoming: Incoming) -> None:
    """Refuse to delete for a caller, let through by the gate, that is no admin.

    Raises:
        AccessDeniedError: it is none.
    """
    if not incoming.may_delete:
        who = incoming.caller or "an anonymous client"
        message = f"this mirror does not let {who} delete; access.admins says who may"
        raise AccessDeniedError(message)
