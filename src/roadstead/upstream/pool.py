"""Blocking requests over urllib3: proxies, redirects by our rules, our errors only."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

from roadstead.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from roadstead.secrecy import Secret
from roadstead.upstream.address import Origin, printable, redirect_target
from roadstead.upstream.answers import MAX_ERROR_BYTES, MAX_REDIRECTS, REDIRECTS, parse_length
from roadstead.upstream.interrupt import Interrupter, pool_classes
from roadstead.upstream.outbound import Outbound, Route
from roadstead.upstream.timeouts import Timeouts
from roadstead.upstream.tlscontext import tls_failure
from roadstead.upstream.transport import STANDARD_HEADERS, note_status

# They log whole addresses, and the query of a redirect's target is a signature.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
# Said with every connection; that certificates are not checked is in the configuration.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

# Hosts whose connections are kept: the registry and what it redirects to.
_HOSTS = 16
_KEPT_PER_HOST = 32


@dataclass(frozen=True, slots=True)
class Arrived:
    """A response whose body is still to be read, and whether it came by a redirect."""

    response: urllib3.BaseHTTPResponse
    redirected: bool


class BlockingPool:
    """Connections for threads; safe to use from many at once."""

    def __init__(self, *, upstream: str, timeouts: Timeouts, outbound: Outbound) -> None:
        """``upstream`` is the host in messages."""
        self._upstream = upstream
        self._timeouts = timeouts
        self._outbound = outbound
        self._pools: dict[Route, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._interrupter = Interrupter()
        self._classes = pool_classes(self._interrupter)

    def get(self, url: str, *, headers: Mapping[str, str], authorization: Secret | None) -> Arrived:
        """GET, and follow redirects; Authorization goes to the origin of ``url`` only.

        Raises:
            UpstreamError: no answer arrived, or a redirect was against the rules.
        """
        for hop in range(MAX_REDIRECTS + 1):
            response = self._send(url, headers, authorization)
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None:
                return Arrived(response, redirected=hop > 0)
            let_go(response)
            try:
                target = redirect_target(url, location)
            except ValueError as error:
                message = f"the redirect to {printable(location)} {error}"
                raise UpstreamProtocolError(message, upstream=self._upstream) from None
            if Origin.parse(target) != Origin.parse(url):
                authorization = None
            url = target
        message = f"redirected more than {MAX_REDIRECTS} times"
        raise UpstreamProtocolError(message, upstream=self._upstream)

    def translated(self, error: Exception) -> UpstreamError:
        """Turn an exception of urllib3 or of the socket into ours."""
        named = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.SSLError)
        # Asked first: a refused connection is, to urllib3, a kind of time-out.
        if isinstance(error, named):
            # Its text begins with a description of the connection object.
            cause = str(error).rpartition("Failed to establish a new connection: ")[2]
            message = f"cannot be connected to: {cause}"
            return UpstreamUnreachableError(message, upstream=self._upstream)
        if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
            message = f"could not be connected to in {self._timeouts.connect:g} s"
            return UpstreamTimeoutError(message, upstream=self._upstream)
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return UpstreamTimeoutError("fell silent", upstream=self._upstream)
        reason = type(error).__name__
        return UpstreamUnreachableError(f"the connection broke: {reason}", upstream=self._upstream)

    def stop(self) -> None:
        """End every wait for an answer, and begin none. Idempotent."""
        self._interrupter.stop()

    def stopping(self) -> UpstreamUnreachableError:
        """Make the error of what is not asked because the process stops."""
        return UpstreamUnreachableError("is not asked any more: stopping", upstream=self._upstream)

    def close(self) -> None:
        """Close idle connections; those in use close at their end."""
        with self._lock:
            managers = list(self._pools.values())
            self._pools.clear()
        for manager in managers:
            # Its own ``clear`` leaves the closing to the garbage collector.
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
            manager.clear()

    def _send(
        self, url: str, headers: Mapping[str, str], authorization: Secret | None
    ) -> urllib3.BaseHTTPResponse:
        route = self._outbound.route_to(url)
        sent = {**STANDARD_HEADERS, **headers}
        if authorization is not None:
            sent["Authorization"] = authorization.reveal()
        timeouts = self._timeouts
        span, trace_headers = self._outbound.trace("GET", url)
        try:
            with span:
                response = self._pool(route).request(
                    "GET",
                    url,
                    headers={**sent, **trace_headers},
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                    timeout=urllib3.Timeout(connect=timeouts.connect, read=timeouts.first_byte),
                )
                note_status(span, response.status)
        except urllib3.exceptions.LocationValueError:
            # Its text holds the whole address.
            message = f"{printable(url)} is no usable address"
            raise UpstreamProtocolError(message, upstream=self._upstream) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if self._interrupter.stopped:
                raise self.stopping() from error
            raise self._refused(error, url, route) from error
        # A server that announces to close the connection has its socket out of reach here, and
        # keeps the time-out for the first byte.
        socket = getattr(response.connection, "sock", None)
        if socket is not None:
            socket.settimeout(timeouts.stall)
        return response

    def _refused(self, error: Exception, url: str, route: Route) -> UpstreamError:
        """Translate what happened before the answer, and say where."""
        failure = tls_failure(error)
        if failure is not None:
            message = f"cannot connect to {Origin.parse(url).authority}: {failure}"
        elif isinstance(error, urllib3.exceptions.ProxyError) and route.proxy is not None:
            message = f"its HTTP proxy {route.proxy.url} gave no connection: {_cause(error)}"
        else:
            return self.translated(error)
        return UpstreamUnreachableError(message, upstream=self._upstream)

    def _pool(self, route: Route) -> urllib3.PoolManager:
        with self._lock:
            pool = self._pools.get(route)
            if pool is None:
                pool = self._pools[route] = _new_pool(route)
                pool.pool_classes_by_scheme = self._classes
            return pool


def _new_pool(route: Route) -> urllib3.PoolManager:
    if route.proxy is None:
        return urllib3.PoolManager(_HOSTS, maxsize=_KEPT_PER_HOST, ssl_context=route.tls)
    return urllib3.ProxyManager(
        route.proxy.url,
        _HOSTS,
        proxy_headers=route.proxy.headers,
        maxsize=_KEPT_PER_HOST,
        ssl_context=route.tls,
    )


def _cause(error: urllib3.exceptions.ProxyError) -> str:
    original = error.original_error
    told = isinstance(original, OSError | urllib3.exceptions.NewConnectionError)
    return str(original) if told else type(original).__name__


def let_go(response: urllib3.BaseHTTPResponse) -> None:
    """Give a connection back: drained where little is left to read, else closed."""
    left = parse_length(response.headers.get("Content-Length"))
    if left is not None and left <= MAX_ERROR_BYTES:
        response.drain_conn()
    response.close()
