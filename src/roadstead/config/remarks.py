"""What is allowed but probably not meant, or worth knowing: notices about usable settings."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from roadstead.config.compat import join
from roadstead.config.document import Value
from roadstead.config.fields import Section
from roadstead.config.notice import Level, Notice
from roadstead.config.schema import Settings
from roadstead.config.schema_access import AccessSettings
from roadstead.config.schema_http import HTTPSettings
from roadstead.config.schema_proxy import DOCKER_HUB, ProxySettings

# Hosts that people take for Docker Hub's registry.
_NOT_THE_HUB: Final = frozenset({"docker.io", "hub.docker.com", "www.docker.com"})

_SHORTEST_SECRET: Final = 16


def remarks(settings: Settings, document: dict[str, Value]) -> list[Notice]:
    """Look at settings that can be used, and at the document that they come from."""
    return [
        *_about_proxy(settings.proxy, document.get("proxy")),
        *_about_http(settings.http),
        *_about_access(settings),
        *_about_bare_durations(settings, document, ""),
    ]


def _about_proxy(proxy: ProxySettings, given: Value) -> Iterator[Notice]:
    url = given.get("remoteurl") if isinstance(given, dict) else None
    if not url:
        text = f"is not set, so this is a mirror of Docker Hub ({DOCKER_HUB})"
        yield Notice(Level.INFO, "proxy.remoteurl", text)
    elif isinstance(url, str) and "@" in url.partition("://")[2].partition("/")[0]:
        text = "has user information; proxy.username and proxy.password are the place for it"
        yield Notice(Level.INFO, "proxy.remoteurl", text)
    parts = urlsplit(proxy.remoteurl)
    if parts.hostname in _NOT_THE_HUB:
        text = f"{parts.hostname} is a web site; Docker Hub's registry is {DOCKER_HUB}"
        yield Notice(Level.WARNING, "proxy.remoteurl", text)
    if proxy.password is not None and not proxy.username:
        text = "has no effect without proxy.username"
        yield Notice(Level.WARNING, "proxy.password", text)
    if proxy.username and proxy.password is None and proxy.exec is None:
        text = "has no effect without proxy.password"
        yield Notice(Level.WARNING, "proxy.username", text)
    if proxy.exec is not None and proxy.username:
        text = "has no effect: proxy.exec gives the credentials"
        yield Notice(Level.WARNING, "proxy.username", text)
    if parts.scheme == "http" and (proxy.username or proxy.exec is not None):
        text = "is not https, so the credentials cross the network in clear text"
        yield Notice(Level.WARNING, "proxy.remoteurl", text)


def _about_http(http: HTTPSettings) -> Iterator[Notice]:
    if http.debug.prometheus.enabled and not http.debug.addr:
        text = "has no effect without http.debug.addr"
        yield Notice(Level.WARNING, "http.debug.prometheus.enabled", text)
    if "clientauth" not in http.tls.model_fields_set:
        return
    if not http.tls.clientcas:
        text = "has no effect without http.tls.clientcas"
        yield Notice(Level.WARNING, "http.tls.clientauth", text)
    elif http.tls.clientauth == "request-client-cert":
        text = "lets every client in, so no certificate is asked for"
        yield Notice(Level.WARNING, "http.tls.clientauth", text)


def _about_access(settings: Settings) -> Iterator[Notice]:
    auth, access = settings.auth, settings.access
    if auth.is_set and not _lets_in_otherwise(access):
        text = (
            "asks for credentials, and Docker answers a mirror in registry-mirrors with the "
            "user's Docker Hub password; for such clients let a rule of access go by networks, "
            "headers or certificates (docs/access.md)"
        )
        yield Notice(Level.WARNING, "auth", text)
    if auth.htpasswd is not None and not settings.http.tls.enabled:
        text = "crosses the network in clear text without http.tls or a proxy that has TLS"
        yield Notice(Level.WARNING, "auth.htpasswd", text)
    if auth.silly is not None:
        text = "lets in whoever sends any Authorization header; use it for development only"
        yield Notice(Level.WARNING, "auth.silly", text)
    for index, header in enumerate(access.headers):
        if len(header.secret.reveal()) < _SHORTEST_SECRET:
            text = "is short enough to be guessed; make one with: openssl rand -hex 32"
            yield Notice(Level.WARNING, f"access.headers[{index}].secret", text)
    for index, rule in enumerate(access.rules):
        if "everybody" in rule.allow and not rule.networks and auth.is_set:
            text = "lets in clients that show nothing, although auth asks for credentials"
            yield Notice(Level.WARNING, f"access.rules[{index}].allow", text)


def _lets_in_otherwise(access: AccessSettings) -> bool:
    """Say whether some clients get in without a password or token."""
    principals = [who for rule in access.rules for who in rule.allow]
    if not access.rules:
        return bool(access.headers)
    return any(not who.startswith(("user:", "group:")) for who in principals)


def _about_bare_durations(settings: Section, given: Value, path: str) -> Iterator[Notice]:
    """Name every duration that was written as a bare number: ``30`` is 30 nanoseconds."""
    if not isinstance(given, dict):
        return
    for name, raw in given.items():
        value = getattr(settings, name, None)
        place = join(path, name)
        if isinstance(value, Section):
            yield from _about_bare_durations(value, raw, place)
        elif isinstance(value, tuple) and isinstance(raw, list):
            for index, (item, raw_item) in enumerate(zip(value, raw, strict=True)):
                if isinstance(item, Section):
                    yield from _about_bare_durations(item, raw_item, join(place, index))
        elif isinstance(value, timedelta) and isinstance(raw, str) and raw.strip("0").isdecimal():
            text = f"{raw} means {raw} nanoseconds, as in Go; write {raw}s for seconds"
            yield Notice(Level.WARNING, place, text)
