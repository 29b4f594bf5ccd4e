"""The composition root: builds everything from the settings, runs it, closes it in reverse.

The only module that knows all concrete classes.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from roadstead import __version__
from roadstead.config.address import parse_address
from roadstead.config.ciphers import openssl_cipher_list
from roadstead.config.load import Loaded
from roadstead.config.notice import Level
from roadstead.config.schema import Settings
from roadstead.config.schema_http import HTTPSettings
from roadstead.errors import StorageError
from roadstead.mirror.blobs import Blobs
from roadstead.mirror.flight import Flights
from roadstead.mirror.freshness import FreshnessRules
from roadstead.mirror.listings import Listings
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.mirror import Mirror
from roadstead.server.app import RegistryApp
from roadstead.server.debug import DebugApp
from roadstead.server.listener import Listener
from roadstead.server.registry import RegistryHandlers
from roadstead.server.tls import TlsFiles, make_context, minimum_version
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.debugvars import vars_snapshot
from roadstead.telemetry.events import Exchange, Observer, on_loop
from roadstead.telemetry.exchanges import AccessLog, ResponseLog
from roadstead.telemetry.health import Check, HealthMonitor
from roadstead.telemetry.lineformat import renderer
from roadstead.telemetry.linewriter import LineWriter
from roadstead.telemetry.logs import LEVELS, LineHandler, LogStyle, install
from roadstead.telemetry.metrics import Metrics
from roadstead.telemetry.probes import file_is_absent, http_answers, tcp_connects
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.credentials import (
    Credentials,
    CredentialSource,
    ExecCredentials,
    StaticCredentials,
)
from roadstead.upstream.naming import is_docker_hub, namespaces_of
from roadstead.upstream.timeouts import Timeouts

_log = logging.getLogger("roadstead.runtime")

# distribution's default of storage.maintenance.uploadpurging.age
_PARTIAL_AGE_SECONDS: Final = 168 * 3600


@dataclass(frozen=True, slots=True)
class Running:
    """A started mirror; ``port`` and ``debug_port`` are None where there is no TCP listener."""

    mirror: Mirror
    metrics: Metrics
    port: int | None
    debug_port: int | None


async def serve(loaded: Loaded) -> None:
    """Run the mirror until SIGTERM or SIGINT.

    Raises:
        OSError: an address cannot be bound, or a TLS file cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(loaded):
        await stop.wait()
        _log.info("stopping; requests under way may finish")
    _log.info("stopped")


@contextlib.asynccontextmanager
async def running(loaded: Loaded) -> AsyncIterator[Running]:
    """Start a mirror, and stop it at the end of the context: gracefully, everything closed.

    Raises:
        OSError: an address cannot be bound, or a TLS file cannot be used.
    """
    settings = loaded.settings
    report = _start_logging(settings)
    for notice in loaded.notices:
        level = logging.WARNING if notice.level is Level.WARNING else logging.INFO
        _log.log(level, "%s", notice)
    async with contextlib.AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(settings.storage.filesystem.maxthreads))
        metrics = Metrics(version=__version__, storage_driver="filesystem")
        observe = on_loop(metrics)
        store = FilesystemStore(Path(settings.storage.filesystem.rootdirectory), observer=observe)
        await _tidy(store)
        upstream = await stack.enter_async_context(_upstream(settings))
        mirror = _mirror(settings, store, upstream, observe)
        stack.push_async_callback(mirror.aclose)
        health = HealthMonitor(_checks(settings, store))
        health.start()
        stack.push_async_callback(health.aclose)
        debug_port = await _listen_debug(settings.http, stack, metrics, health)
        app = RegistryApp(
            RegistryHandlers(
                mirror,
                catalog_max_entries=settings.catalog.maxentries,
                tags_max_entries=settings.tags.maxtags,
                observe=observe,
            ),
            namespaces=namespaces_of(upstream.host, settings.proxy.aliases),
            extra_headers=settings.http.headers,
            prefix=settings.http.prefix,
            is_healthy=health.is_healthy,
            observe=observe,
            report=report,
        )
        port = await _listen(settings.http, stack, app)
        _log.info("Registry configured as a proxy cache to %s", settings.proxy.remoteurl)
        yield Running(mirror=mirror, metrics=metrics, port=port, debug_port=debug_port)


def _start_logging(settings: Settings) -> "_RequestLogs":
    log = settings.log
    static = {**log.fields, "version": __version__, "instance.id": str(uuid.uuid4())}
    style = LogStyle(line_format=log.formatter, static=static, report_caller=log.reportcaller)
    errors = LineWriter(sys.stderr)
    install(LineHandler(errors.write, style), log.level)
    response_log = ResponseLog(
        errors.write, render=renderer(log.formatter), static=static, level=LEVELS[log.level]
    )
    access_log = None if log.accesslog.disabled else AccessLog(LineWriter(sys.stdout).write)
    return _RequestLogs(response_log, access_log)


class _RequestLogs:
    """Both lines that a request leaves behind."""

    def __init__(self, response_log: ResponseLog, access_log: AccessLog | None) -> None:
        self._response_log = response_log
        self._access_log = access_log

    def __call__(self, exchange: Exchange) -> None:
        self._response_log(exchange)
        if self._access_log is not None:
            self._access_log(exchange)


async def _tidy(store: FilesystemStore) -> None:
    """Remove partial downloads that are of no use; a store in trouble does not stop the start."""
    try:
        await store.remove_stale_partials()
        await store.purge_partials(older_than_seconds=_PARTIAL_AGE_SECONDS, now=time.time())
    except StorageError as error:
        _log.error("the store is in trouble", extra={"fields": {"error": str(error)}})


def _upstream(settings: Settings) -> RegistryUpstream:
    proxy = settings.proxy
    return RegistryUpstream(
        proxy.remoteurl,
        credentials=_credentials(settings),
        timeouts=Timeouts(
            connect=proxy.connecttimeout.total_seconds(),
            first_byte=proxy.firstbytetimeout.total_seconds(),
            stall=proxy.stalltimeout.total_seconds(),
        ),
        trusted_realms=frozenset(proxy.trustedrealms),
        max_manifest_bytes=proxy.maxmanifestsize,
    )


def _mirror(
    settings: Settings, store: FilesystemStore, upstream: RegistryUpstream, observe: Observer
) -> Mirror:
    proxy = settings.proxy
    flights = Flights(store, max_transfers=proxy.maxtransfers, observe=observe)
    rules = FreshnessRules(tag_ttl=proxy.tagttl.total_seconds())
    manifests = Manifests(store=store, upstream=upstream, rules=rules, observe=observe)
    listings = Listings(
        store=store,
        upstream=upstream,
        manifests=manifests,
        ttl_seconds=rules.tag_ttl,
        observe=observe,
    )
    return Mirror(
        manifests=manifests,
        blobs=Blobs(store=store, upstream=upstream, flights=flights, observe=observe),
        listings=listings,
        flights=flights,
        adds_library=is_docker_hub(upstream.host),
    )


def _credentials(settings: Settings) -> CredentialSource:
    proxy = settings.proxy
    if proxy.exec is not None:
        lifetime = proxy.exec.lifetime
        return ExecCredentials(
            command=proxy.exec.command,
            server=urlsplit(proxy.remoteurl).netloc,
            lifetime_seconds=None if lifetime is None else lifetime.total_seconds(),
        )
    if proxy.username and proxy.password is not None:
        return StaticCredentials(Credentials(proxy.username, proxy.password))
    return StaticCredentials()


def _checks(settings: Settings, store: FilesystemStore) -> Sequence[Check]:
    health = settings.health
    checks = [
        Check(
            name=check.file,
            probe=file_is_absent(Path(check.file)),
            interval_seconds=check.interval.total_seconds(),
            threshold=check.threshold,
        )
        for check in health.file
    ]
    checks += [
        Check(
            name=check.uri,
            probe=http_answers(
                check.uri,
                status=check.statuscode,
                headers=check.headers,
                timeout_seconds=check.timeout.total_seconds(),
            ),
            interval_seconds=check.interval.total_seconds(),
            threshold=check.threshold,
            timeout_seconds=check.timeout.total_seconds(),
        )
        for check in health.http
    ]
    checks += [
        Check(
            name=check.addr,
            probe=tcp_connects(
                *_host_and_port(check.addr), timeout_seconds=check.timeout.total_seconds()
            ),
            interval_seconds=check.interval.total_seconds(),
            threshold=check.threshold,
            timeout_seconds=check.timeout.total_seconds(),
        )
        for check in health.tcp
    ]
    if health.storagedriver.enabled:
        checks.append(
            Check(
                name="storagedriver_filesystem",
                probe=store.check,
                interval_seconds=health.storagedriver.interval.total_seconds(),
                threshold=health.storagedriver.threshold,
            )
        )
    return checks


def _host_and_port(addr: str) -> tuple[str, int]:
    address = parse_address(addr)
    return address.host or "localhost", address.port


async def _listen(
    http: HTTPSettings, stack: contextlib.AsyncExitStack, app: RegistryApp
) -> int | None:
    context = None
    if http.tls.enabled:
        context = make_context(
            TlsFiles(
                certificate=Path(http.tls.certificate),
                key=Path(http.tls.key),
                minimum=minimum_version(http.tls.minimumtls),
                ciphers=openssl_cipher_list(http.tls.ciphersuites),
                client_cas=tuple(map(Path, http.tls.clientcas)),
                client_auth=http.tls.clientauth,
            )
        )
    listener = Listener(app, drain_seconds=http.draintimeout.total_seconds())
    stack.push_async_callback(listener.aclose)
    address = http.address
    if isinstance(address, Path):
        await listener.listen_unix(address)
        _log.info("listening on %s", address)
        return None
    port = await listener.listen_tcp(address.host, address.port, context=context)
    host = address.host or "[::]"
    _log.info("listening on %s:%d%s", host, port, ", tls" if context else "")
    return port


async def _listen_debug(
    http: HTTPSettings,
    stack: contextlib.AsyncExitStack,
    metrics: Metrics,
    health: HealthMonitor,
) -> int | None:
    address = http.debug.address
    if address is None:
        return None
    prometheus = http.debug.prometheus
    app = DebugApp(
        health=health.status,
        variables=lambda: vars_snapshot(metrics, sys.argv),
        metrics=metrics.render,
        metrics_path=prometheus.path if prometheus.enabled else None,
    )
    listener = Listener(app, drain_seconds=0)
    stack.push_async_callback(listener.aclose)
    port = await listener.listen_tcp(address.host, address.port)
    _log.info("debug server listening %s:%d", address.host or "[::]", port)
    if prometheus.enabled:
        _log.info("providing prometheus metrics on %s", prometheus.path)
    return port
