"""The load generator: it measures whole and right bodies only."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from benchmarks.load import BadAnswerError, Load, pull

_BODY = bytes(range(256)) * 4096


@contextmanager
def _server(answer: Callable[[int], bytes]) -> Iterator[int]:
    """Answer each request, told its number, with these bytes; then close the connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            for number in range(2):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                # A client that refuses the answer leaves early.
                with closing(connection), suppress(ConnectionError):
                    connection.recv(65536)
                    connection.sendall(answer(number))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def _answer(body: bytes, *, length: int | None = None, status: str = "200 OK") -> bytes:
    announced = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {announced}\r\n\r\n".encode() + body


def test_counts_every_body_byte_and_every_first_byte() -> None:
    """Two connections bring two bodies and two times to the first byte."""
    with _server(lambda _: _answer(_BODY)) as port:
        outcome = pull(Load(port=port, path="/", size_bytes=len(_BODY), connections=2))
    assert outcome.body_bytes == 2 * len(_BODY)
    assert len(outcome.first_byte_seconds) == 2
    assert 0 < max(outcome.first_byte_seconds) <= outcome.wall_seconds


def test_gives_the_digest_of_a_body_that_it_hashes() -> None:
    """A hashed pull reads what was sent."""
    with _server(lambda _: _answer(_BODY)) as port:
        outcome = pull(Load(port=port, path="/", size_bytes=len(_BODY), hashed=True))
    assert outcome.digests == [f"sha256:{hashlib.sha256(_BODY).hexdigest()}"]


@pytest.mark.parametrize(
    "answer",
    [
        _answer(_BODY[:-1], length=len(_BODY)),
        _answer(_BODY[:-1]),
        _answer(_BODY, status="404 Not Found"),
        b"HTTP/1.1 200 OK\r\n",
    ],
    ids=["cut short", "another length", "another status", "no whole head"],
)
def test_refuses_a_wrong_answer(answer: bytes) -> None:
    """What is not the whole expected body is an error and no measurement."""
    with _server(lambda _: answer) as port, pytest.raises(BadAnswerError):
        pull(Load(port=port, path="/", size_bytes=len(_BODY)))


def test_one_wrong_answer_among_several_is_an_error() -> None:
    """The answer to each connection is looked at."""

    def answer(number: int) -> bytes:
        return _answer(_BODY if number == 0 else _BODY[:-1], length=len(_BODY))

    with _server(answer) as port, pytest.raises(BadAnswerError):
        pull(Load(port=port, path="/", size_bytes=len(_BODY), connections=2))


def test_counts_answers_to_head() -> None:
    """A HEAD has an answer and no body."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(_BODY)}\r\n\r\n".encode()
    with _server(lambda _: head) as port:
        load = Load(port=port, path="/", size_bytes=len(_BODY), connections=2, method="HEAD")
        outcome = pull(load)
    assert (outcome.answers, outcome.body_bytes) == (2, 0)
    assert len(outcome.first_byte_seconds) == 2


def test_notes_the_longest_pause_within_a_body() -> None:
    """What comes in pieces has pauses, none of them longer than the whole took."""
    body = _BODY * 8
    with _server(lambda _: _answer(body)) as port:
        outcome = pull(Load(port=port, path="/", size_bytes=len(body)))
    assert 0 < outcome.longest_pause_seconds <= outcome.wall_seconds
