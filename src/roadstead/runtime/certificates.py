"""Looks after the files of TLS while the mirror runs."""

import asyncio
import contextlib
import datetime as dt
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roadstead.config.ciphers import openssl_cipher_list
from roadstead.config.schema_http import LetsEncryptSettings, TLSSettings
from roadstead.server.tls import ServerTls, TlsFiles, minimum_version

if TYPE_CHECKING:
    from roadstead.server.acme.renewal import Renewal

_LOOK_EVERY_SECONDS: Final = 5.0


def make_tls(tls: TLSSettings) -> ServerTls | None:
    """Make what listeners speak TLS with, None without ``http.tls``.

    Raises:
        OSError: a file cannot be used, or the packages for ACME are not installed.
    """
    if not tls.enabled:
        return None
    certificate, key = Path(tls.certificate), Path(tls.key)
    if tls.letsencrypt.cachefile:
        certificate, key = _ordered_files(tls.letsencrypt)
    return ServerTls(
        TlsFiles(
            certificate=certificate,
            key=key,
            minimum=minimum_version(tls.minimumtls),
            ciphers=openssl_cipher_list(tls.ciphersuites),
            client_cas=tuple(map(Path, tls.clientcas)),
            client_auth=tls.clientauth,
        )
    )


@contextlib.asynccontextmanager
async def watching(
    tls: ServerTls | None,
    acme: LetsEncryptSettings | None = None,
    *,
    every_seconds: float = _LOOK_EVERY_SECONDS,
) -> AsyncIterator[None]:
    """Look for changed files every few seconds, and order what is due, while the context lasts."""
    if tls is None:
        yield
        return

    async def look() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            tls.look()

    tasks = [asyncio.create_task(look())]
    if acme is not None and acme.cachefile:
        tasks.append(asyncio.create_task(_renewal(acme, tls).run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ordered_files(acme: LetsEncryptSettings) -> tuple[Path, Path]:
    """Return where the certificate and its key will be, and a stand-in is until then."""
    if importlib.util.find_spec("acme") is None:
        message = "http.tls.letsencrypt needs more packages: pip install 'roadstead[acme]'"
        raise OSError(message)
    # Only those who use it pay for the import.
    from roadstead.server.acme.cupboard import Cupboard  # noqa: PLC0415

    cupboard = Cupboard(Path(acme.cachefile))
    cupboard.prepare(list(acme.hosts), dt.datetime.now(dt.UTC))
    return cupboard.certificate, cupboard.key


def _renewal(acme: LetsEncryptSettings, tls: ServerTls) -> "Renewal":
    from roadstead.server.acme.cupboard import Cupboard  # noqa: PLC0415 - as above
    from roadstead.server.acme.renewal import AcmeRules, Renewal  # noqa: PLC0415 - as above

    rules = AcmeRules(
        directory_url=acme.directoryurl,
        email=acme.email,
        hosts=acme.hosts,
        host=acme.address.host,
        port=acme.address.port,
    )
    return Renewal(rules, Cupboard(Path(acme.cachefile)), renewed=tls.look)
