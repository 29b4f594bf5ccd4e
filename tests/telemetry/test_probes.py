"""Probes against real files, ports and a small web server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from roadstead.telemetry.probes import ProbeError, file_is_absent, http_answers, tcp_connects


@asynccontextmanager
async def web_server(status_line: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve one fixed answer on loopback; gives the port and the requests as received."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # a probe that only connects
            requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status_line}\r\nContent-Length: 5\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], requests


async def closed_port() -> int:
    """Return a port that nobody listens on."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_file_probe_fails_while_the_file_exists(tmp_path: Path) -> None:
    """The presence of the file is the failure."""
    path = tmp_path / "out-of-rotation"
    probe = file_is_absent(path)
    await probe()

    path.touch()
    with pytest.raises(ProbeError, match=r"^file exists$"):
        await probe()

    path.unlink()
    await probe()


async def test_http_probe_sends_head_with_headers() -> None:
    """The request is a HEAD of the whole URI with the configured headers."""
    async with web_server("200 OK") as (port, requests):
        await http_answers(f"http://127.0.0.1:{port}/up?x=1", headers={"X-A": ["1", "2"]})()

    head = requests[0].decode().split("\r\n")
    assert head[0] == "HEAD /up?x=1 HTTP/1.1"
    assert [line for line in head if line.startswith("X-A")] == ["X-A: 1", "X-A: 2"]


@pytest.mark.parametrize("status_line", ["204 No Content", "301 Moved\r\nLocation: /", "500 Oh"])
async def test_http_probe_wants_the_exact_status(status_line: str) -> None:
    """Any other status fails, a redirect too; as the wanted status it passes."""
    status = int(status_line[:3])
    async with web_server(status_line) as (port, _requests):
        uri = f"http://127.0.0.1:{port}/"
        await http_answers(uri, status=status)()
        with pytest.raises(ProbeError, match=f"unexpected status: {status}"):
            await http_answers(uri)()


@pytest.mark.parametrize("uri", ["ftp://host/", "no uri", "http://host:port/", "http://a b/"])
async def test_http_probe_of_nonsense_fails(uri: str) -> None:
    """A URI that cannot be asked is a failure of the check and nothing worse."""
    with pytest.raises(ProbeError, match="error while checking"):
        await http_answers(uri)()


async def test_tcp_probe_connects() -> None:
    """A listening port is well; a closed one names the address and the cause."""
    async with web_server("200 OK") as (port, _requests):
        await tcp_connects("127.0.0.1", port)()

    port = await closed_port()
    with pytest.raises(
        ProbeError, match=f"connection to 127.0.0.1:{port} failed: connection refused"
    ):
        await tcp_connects("127.0.0.1", port)()
    with pytest.raises(ProbeError, match=r"error while checking: .* connection refused"):
        await http_answers(f"http://127.0.0.1:{port}/")()
