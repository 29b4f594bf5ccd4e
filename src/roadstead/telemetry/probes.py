"""What distribution's health checks look at: a file, a web page, a TCP port.

The standard library is enough for them, so the monitor needs no HTTP client of the mirror. The
store's probe is its own ``check`` method.
"""

import asyncio
import http.client
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from roadstead.telemetry.health import Probe


class ProbeError(Exception):
    """What a probe found wrong; its text is shown by ``/debug/health``."""


def file_is_absent(path: Path) -> Probe:
    """Fail while ``path`` exists: how an operator takes a mirror out of rotation."""

    async def probe() -> None:
        if await asyncio.to_thread(path.exists):
            message = "file exists"
            raise ProbeError(message)

    return probe


def http_answers(
    uri: str,
    *,
    status: int = 200,
    headers: Mapping[str, Sequence[str]] | None = None,
    timeout_seconds: float = 5,
) -> Probe:
    """Fail unless a HEAD request to ``uri`` is answered with exactly ``status``.

    Redirects are not followed, so that ``headers``, which may hold a credential, reach no
    other host.
    """

    async def probe() -> None:
        try:
            found = await asyncio.to_thread(_head, uri, dict(headers or {}), timeout_seconds)
        except (OSError, ValueError, http.client.HTTPException) as error:
            message = f"error while checking: {uri}: {_cause(error)}"
            raise ProbeError(message) from error
        if found != status:
            message = f"downstream service returned unexpected status: {found}"
            raise ProbeError(message)

    return probe


def tcp_connects(host: str, port: int, *, timeout_seconds: float = 5) -> Probe:
    """Fail unless a TCP connection to ``host`` and ``port`` can be made."""

    async def probe() -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                _reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            message = f"connection to {host}:{port} failed: {_cause(error)}"
            raise ProbeError(message) from error
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    return probe


def _head(uri: str, headers: Mapping[str, Sequence[str]], timeout_seconds: float) -> int:
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        message = "not an http or https URI"
        raise ValueError(message)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=timeout_seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.putrequest("HEAD", target, skip_accept_encoding=True)
        for name, values in headers.items():
            for value in values:
                connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def _cause(error: Exception) -> str:
    # asyncio and http.client word the same errno in their own ways; resolvers have negative ones.
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
