"""Blocking connections whose waiting thread can be woken: the socket under it is shut down.

A thread that connects, shakes hands or waits for headers is out of reach of everything else, and
would keep a process that stops waiting for as long as its time-outs allow.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import ClassVar

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.response import HTTPResponse


class Interrupter:
    """Knows the sockets that threads wait on; callable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[socket.socket] = set()
        self.stopped = False

    def stop(self) -> None:
        """Wake every waiting thread, and let none wait any more. Idempotent."""
        with self._lock:
            self.stopped = True
            for one in self._waiting:
                with suppress(OSError):
                    # Not the method of a TLS socket, which would first forget its keys.
                    socket.socket.shutdown(one, socket.SHUT_RDWR)

    @contextmanager
    def watch(self, waited_on: socket.socket) -> Iterator[None]:
        """Let ``stop`` end a wait on this socket.

        Raises:
            ConnectionAbortedError: it has been called.
        """
        with self._lock:
            if self.stopped:
                message = "stopping"
                raise ConnectionAbortedError(message)
            self._waiting.add(waited_on)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(waited_on)


def pool_classes(interrupter: Interrupter) -> dict[str, type[HTTPConnectionPool]]:
    """Make the classes for ``PoolManager.pool_classes_by_scheme`` that obey ``interrupter``."""

    class Plain(_WatchedConnection):
        watcher = interrupter

    class Encrypted(_WatchedConnection, HTTPSConnection):
        watcher = interrupter

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _WatchedConnection(HTTPConnection):
    """A connection that is watched while it is made and while it waits for an answer."""

    watcher: ClassVar[Interrupter]
    _making: ExitStack

    def connect(self) -> None:
        """Connect; a handshake with a proxy or over TLS is part of it."""
        with ExitStack() as self._making:
            super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Wait for the headers."""
        with self.watcher.watch(self.sock):
            return super().getresponse()

    def _new_conn(self) -> socket.socket:
        """Connect as urllib3 does, address by address, with the socket in reach meanwhile."""
        try:
            host = self._dns_host.strip("[]")
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:
            message = f"'{self.host}', label empty or too long"
            raise LocationParseError(message) from None
        failure = OSError("no address")
        for family, kind, protocol, _, address in found:
            made = socket.socket(family, kind, protocol)
            try:
                self._reach(made, address)
            except OSError as error:
                failure = error
                made.close()
            else:
                return made
        if isinstance(failure, TimeoutError):
            message = f"Connection to {self.host} timed out."
            raise ConnectTimeoutError(self, message) from failure
        message = f"Failed to establish a new connection: {failure}"
        raise NewConnectionError(self, message) from failure

    def _reach(self, made: socket.socket, address: tuple[object, ...]) -> None:
        for option in self.socket_options or ():
            made.setsockopt(*option)
        made.settimeout(self.timeout)
        with self.watcher.watch(made):
            made.connect(address)
        # TLS puts another object in the place of this one, over the same connection.
        handle = self._making.enter_context(made.dup())
        self._making.enter_context(self.watcher.watch(handle))
