"""Looks after the files of TLS while the mirror runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from roadstead.config.ciphers import openssl_cipher_list
from roadstead.config.schema_http import TLSSettings
from roadstead.server.tls import ServerTls, TlsFiles, minimum_version

_LOOK_EVERY_SECONDS: Final = 5.0


def make_tls(tls: TLSSettings) -> ServerTls | None:
    """Make what listeners speak TLS with, None without ``http.tls``.

    Raises:
        OSError: a file cannot be used.
    """
    if not tls.enabled:
        return None
    return ServerTls(
        TlsFiles(
            certificate=Path(tls.certificate),
            key=Path(tls.key),
            minimum=minimum_version(tls.minimumtls),
            ciphers=openssl_cipher_list(tls.ciphersuites),
            client_cas=tuple(map(Path, tls.clientcas)),
            client_auth=tls.clientauth,
        )
    )


@contextlib.asynccontextmanager
async def watching(
    tls: ServerTls | None, *, every_seconds: float = _LOOK_EVERY_SECONDS
) -> AsyncIterator[None]:
    """Look for changed files every few seconds, as long as the context lasts."""
    if tls is None:
        yield
        return

    async def look() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            tls.look()

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
