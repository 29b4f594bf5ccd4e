"""The load generator: pulls one path over several connections and lets the kernel drop the bodies.

A program of its own, so that what it costs is neither the harness's nor the server's:
``python -m benchmarks.load`` reads a Load as JSON from standard input and writes to standard
output a line when the first body byte has arrived, and an Outcome at the end. Every body must
have the announced and expected length; ``hashed`` reads and hashes the bodies too, which is for
checking and not for timing.
"""

import contextlib
import dataclasses
import hashlib
import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_HEAD_BYTES = 64 * 1024
_BODY_BYTES = 1024 * 1024
_SILENCE_SECONDS = 120.0
_OK = b"200"

_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CONTEXT.check_hostname = False
_CONTEXT.verify_mode = ssl.CERT_NONE


class BadAnswerError(Exception):
    """A server answered something else than the expected body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to pull: each connection once, or again and again until ``seconds`` have passed."""

    port: int
    path: str
    size_bytes: int
    accept: str = "*/*"
    connections: int = 1
    seconds: float = 0.0
    hashed: bool = False
    method: str = "GET"
    secure: bool = False
    """By TLS, whatever the certificate."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it; ``first_byte_seconds`` has the time to the first byte of each body.

    Of a HEAD it is the time to the answer.
    """

    wall_seconds: float = 0.0
    body_bytes: int = 0
    answers: int = 0
    longest_pause_seconds: float = 0.0
    """Between two pieces of one body."""
    first_byte_seconds: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)


class _Connection:
    """One keep-alive connection and the body that it is receiving."""

    def __init__(self, load: Load, outcome: Outcome, buffer: memoryview) -> None:
        self._load = load
        self._outcome = outcome
        self._buffer = buffer
        # The kernel cannot drop what is still encrypted.
        self._flags = 0 if load.hashed or load.secure else socket.MSG_TRUNC
        self._request = (
            f"{load.method} {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
            f"User-Agent: roadstead-benchmarks\r\nAccept: {load.accept}\r\n\r\n"
        ).encode()
        self.socket = socket.create_connection(("127.0.0.1", load.port))
        if load.secure:
            self.socket = _CONTEXT.wrap_socket(self.socket)
        self.socket.settimeout(0)

    def request(self) -> None:
        """Ask for the path."""
        self._head = bytearray()
        self._left: int | None = None
        self._hash = hashlib.sha256()
        self._started = time.perf_counter()
        self._got_at = self._started
        self._is_first = True
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Take what has arrived; return whether the body is complete."""
        try:
            is_complete = self._receive()
            # What was decrypted already does not wake anybody.
            while not is_complete and isinstance(self.socket, ssl.SSLSocket):
                is_complete = self._receive()
        except ssl.SSLWantReadError:
            return False
        return is_complete

    def _receive(self) -> bool:
        if self._left is None:
            return self._receive_head()
        wanted = min(self._left, _BODY_BYTES)
        got = self.socket.recv_into(self._buffer, wanted, self._flags)
        if not got:
            message = f"{self._load.path}: the body ended {self._left} bytes early"
            raise BadAnswerError(message)
        return self._take(self._buffer[:got])

    def _receive_head(self) -> bool:
        piece = self.socket.recv(_HEAD_BYTES)
        self._head += piece
        head, separator, body = bytes(self._head).partition(b"\r\n\r\n")
        if not piece:
            message = f"{self._load.path}: the connection was closed without an answer"
            raise BadAnswerError(message)
        if not separator:
            return False
        self._left = self._checked_length(head)
        if self._load.method == "HEAD":
            self._outcome.answers += 1
            self._outcome.first_byte_seconds.append(time.perf_counter() - self._started)
            return True
        return self._take(memoryview(body)) if body else False

    def _take(self, piece: memoryview) -> bool:
        now = time.perf_counter()
        if self._is_first:
            self._outcome.first_byte_seconds.append(now - self._started)
            self._is_first = False
        elif now - self._got_at > self._outcome.longest_pause_seconds:
            self._outcome.longest_pause_seconds = now - self._got_at
        self._got_at = now
        if self._load.hashed:
            self._hash.update(piece)
        self._left = (self._left or 0) - len(piece)
        self._outcome.body_bytes += len(piece)
        if self._left:
            return False
        self._outcome.answers += 1
        if self._load.hashed:
            self._outcome.digests.append(f"sha256:{self._hash.hexdigest()}")
        return True

    def _checked_length(self, head: bytes) -> int:
        status, *lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b":", 1) for line in lines)
        length = int(fields.get(b"content-length", b"-1"))
        if status.split()[1] != _OK or length != self._load.size_bytes:
            message = f"{self._load.path}: {self._load.size_bytes} bytes expected, got {head!r}"
            raise BadAnswerError(message)
        return length


def pull(load: Load, *, begun: Callable[[], object] = lambda: None) -> Outcome:
    """Run ``load``; ``begun`` is called when the first body byte has arrived.

    Raises:
        BadAnswerError: a server answered wrongly, or fell silent.
        OSError: a connection failed.
    """
    outcome = Outcome()
    buffer = memoryview(bytearray(_BODY_BYTES))
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        pulling = {}
        for _ in range(load.connections):
            connection = _Connection(load, outcome, buffer)
            stack.enter_context(connection.socket)
            pulling[connection.socket.fileno()] = connection
        started = time.perf_counter()
        for number, connection in pulling.items():
            poll.register(number, select.EPOLLIN)
            connection.request()
        while pulling:
            ready = poll.poll(_SILENCE_SECONDS)
            if not ready:
                message = f"{load.path}: nothing came for {_SILENCE_SECONDS:g} s"
                raise BadAnswerError(message)
            is_first = not outcome.answers and not outcome.body_bytes
            for number, _ in ready:
                if not pulling[number].receive():
                    continue
                if time.perf_counter() - started < load.seconds:
                    pulling[number].request()
                else:
                    poll.unregister(number)
                    del pulling[number]
            if is_first and (outcome.answers or outcome.body_bytes):
                begun()
        outcome.wall_seconds = time.perf_counter() - started
    return outcome


if __name__ == "__main__":
    wanted = Load(**json.load(sys.stdin))
    found = pull(wanted, begun=lambda: print("begun", flush=True))
    json.dump(dataclasses.asdict(found), sys.stdout)
