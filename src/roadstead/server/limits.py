"""Limits on clients: how many connections, how fast, how large, how long without progress.

The limits are for the process, since file descriptors are. None of them gets in the way of a
team behind one address: what is idle gives way first, and one client may have most of all.
"""

import resource
import socket
import time
from asyncio import BaseTransport
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from typing import Final, Protocol

from cachetools import TTLCache

from roadstead.server.access.networks import NOWHERE, Address, Networks, parse_address, site_of
from roadstead.telemetry import events
from roadstead.telemetry.events import Refusal, Refused

# A connection and the blob that is sent on it have a descriptor each.
_DESCRIPTORS_EACH: Final = 2
# For the store, upstreams, logs and the rest.
_RESERVED_DESCRIPTORS: Final = 512
_MOST_DESCRIPTORS: Final = 1 << 20
_MOST_CONNECTIONS: Final = 16_384
_MOST_SITES: Final = 50_000


@dataclass(frozen=True, slots=True)
class LimitRules:
    """What is configured under ``http.limits``; 0 is explained with each.

    ``connections``: of all clients; 0: as many as descriptors allow. ``per_client``: of one
    address (IPv6: one /64); 0: three quarters of all. ``requests_per_second``: of one client;
    0: no limit. ``header_bytes``: of one request, its line included. ``idle_seconds``: without a
    whole request. ``stall_seconds``: in which a client takes nothing of what is sent.
    """

    connections: int = 0
    per_client: int = 0
    requests_per_second: float = 0.0
    # A multi-range list of a lazy-pulling client runs to many KiB (facts/protocol.md 6).
    header_bytes: int = 64 * 1024
    idle_seconds: float = 75.0
    stall_seconds: float = 60.0

    @property
    def most_connections(self) -> int:
        """Connections of all clients together."""
        return self.connections or connections_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    @property
    def most_per_client(self) -> int:
        """Connections of one client."""
        return self.per_client or max(1, self.most_connections * 3 // 4)


class Guarded(Protocol):
    """What the guard knows of a connection."""

    @property
    def idle_since(self) -> float | None:
        """When its last answer was out, by the loop's clock; None while a request is answered."""

    def abort(self) -> None:
        """Close it at once."""


class Guard:
    """Counts connections and requests, and says which may stay."""

    def __init__(
        self,
        rules: LimitRules,
        *,
        trusted_proxies: Networks = NOWHERE,
        observe: events.Observer = events.ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Clients behind ``trusted_proxies`` share connections, so those are not counted."""
        self.rules = rules
        self.trusted_proxies = trusted_proxies
        self._observe = observe
        self._most = rules.most_connections
        self._most_per_client = rules.most_per_client
        self._clock = clock
        self._sites: dict[Guarded, str] = {}
        self._counts: dict[str, int] = {}
        self._buckets: TTLCache[str, _Bucket] = TTLCache(_MOST_SITES, 60.0, timer=clock)

    def opened(self, connection: Guarded, transport: BaseTransport) -> bool:
        """Count a new connection; False if it may not stay."""
        peer = transport.get_extra_info("peername")
        address = parse_address(str(peer[0])) if isinstance(peer, tuple) else None
        site = "" if self._is_exempt(address) else site_of(address)
        if site and self._counts.get(site, 0) >= self._most_per_client:
            self._observe(Refused(Refusal.CLIENT_CONNECTIONS))
            return False
        if len(self._sites) >= self._most and not self._make_room():
            self._observe(Refused(Refusal.CONNECTIONS))
            return False
        self._sites[connection] = site
        self._counts[site] = self._counts.get(site, 0) + 1
        _limit_stall(transport, self.rules.stall_seconds)
        return True

    def closed(self, connection: Guarded) -> None:
        """Forget a connection; one that is not known is no mistake."""
        site = self._sites.pop(connection, None)
        if site is None:
            return
        left = self._counts[site] - 1
        if left:
            self._counts[site] = left
        else:
            del self._counts[site]

    def may_ask(self, address: Address | None) -> bool:
        """Count a request of a client; False if it has asked too often."""
        rate = self.rules.requests_per_second
        if not rate:
            return True
        site = site_of(address)
        now = self._clock()
        bucket = self._buckets.get(site)
        if bucket is None:
            bucket = self._buckets[site] = _Bucket(rate * _BURST_SECONDS, now)
        if bucket.take(now, rate):
            return True
        self._observe(Refused(Refusal.CLIENT_RATE))
        return False

    @property
    def open_connections(self) -> int:
        """How many connections there are."""
        return len(self._sites)

    def _is_exempt(self, address: Address | None) -> bool:
        return address is None or address in self.trusted_proxies

    def _make_room(self) -> bool:
        """Close those connections that have been idle for the longest time, if there are any.

        Some at once, because looking for them takes a look at all.
        """
        idle = [
            (since, connection)
            for connection in self._sites
            if (since := connection.idle_since) is not None
        ]
        oldest = nsmallest(max(1, self._most // 64), idle, key=itemgetter(0))
        for _, connection in oldest:
            self.closed(connection)
            connection.abort()
        return bool(oldest)


# A pull asks for manifests and many layers at once, then is quiet.
_BURST_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Bucket:
    """A token bucket that holds what ``_BURST_SECONDS`` bring."""

    tokens: float
    filled_at: float

    def take(self, now: float, rate: float) -> bool:
        self.tokens = min(rate * _BURST_SECONDS, self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


def raise_descriptor_limit() -> int:
    """Let the process have as many open files as it may; return how many that are.

    The soft limit is 1024 on most systems, for the sake of programs that use select.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def connections_for(descriptors: int) -> int:
    """Say how many connections a number of file descriptors is enough for."""
    if descriptors == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    fitting = (descriptors - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_EACH
    return max(64, min(fitting, _MOST_CONNECTIONS))


def _limit_stall(transport: BaseTransport, seconds: float) -> None:
    """Let the kernel end a connection whose peer takes nothing for so long.

    Linux counts the time in which sent data is not acknowledged or the peer's window stays
    shut; a slow reader that goes on reading is never ended by it (tcp(7), TCP_USER_TIMEOUT).
    """
    if (
        hasattr(socket, "TCP_USER_TIMEOUT")
        and transport.get_extra_info("peername")
        and (raw := transport.get_extra_info("socket")) is not None
        and raw.family in (socket.AF_INET, socket.AF_INET6)
    ):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
