"""A value for every setting that works, and the ways to give it: in a file, in a variable."""

from pathlib import Path
from typing import Final

from roadstead.config.compat import assess
from roadstead.config.document import Value
from roadstead.config.environment import override
from roadstead.config.load import Examination, examine
from roadstead.config.schema import Settings

MINIMAL: Final = "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}}\n"

SAMPLES: Final = {
    "log.level": "debug",
    "log.formatter": "json",
    "log.fields.service": "mirror",
    "log.accesslog.disabled": "true",
    "log.audit.disabled": "true",
    "log.reportcaller": "true",
    "catalog.maxentries": "7",
    "tags.maxtags": "8",
    "storage.filesystem.rootdirectory": "/elsewhere",
    "storage.filesystem.maxthreads": "50",
    "storage.delete.enabled": "true",
    "storage.maintenance.readonly.enabled": "true",
    "http.addr": "localhost:81",
    "http.net": "tcp",
    "http.prefix": "/mirror/",
    "http.draintimeout": "1m",
    "http.shutdowndelay": "5s",
    "http.accelredirect": "/held/",
    "http.workers": "2",
    "http.headers.x-one[0]": "a",
    "http.host": "https://mirror.corp",
    "notifications.endpoints[0].name": "listener",
    "notifications.endpoints[0].disabled": "true",
    "notifications.endpoints[0].url": "https://listener.corp/events",
    "notifications.endpoints[0].headers.x-one[0]": "a",
    "notifications.endpoints[0].timeout": "2s",
    "notifications.endpoints[0].threshold": "4",
    "notifications.endpoints[0].backoff": "3s",
    "notifications.endpoints[0].ignoredmediatypes[0]": "application/octet-stream",
    "notifications.endpoints[0].ignore.mediatypes[0]": "application/json",
    "notifications.endpoints[0].ignore.actions[0]": "delete",
    "notifications.endpoints[0].envelope": "v2",
    "http.tls.certificate": "/crt",
    "http.tls.key": "/key",
    "http.tls.clientcas[0]": "/ca",
    "http.tls.clientauth": "verify-client-cert-if-given",
    "http.tls.minimumtls": "tls1.3",
    "http.tls.ciphersuites[0]": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "http.limits.connections": "5000",
    "http.limits.connectionsperclient": "500",
    "http.limits.requestspersecond": "100",
    "http.limits.headersize": "8192",
    "http.limits.idletimeout": "10s",
    "http.limits.stalltimeout": "20s",
    "http.debug.addr": ":5001",
    "http.debug.prometheus.enabled": "true",
    "http.debug.prometheus.path": "/m",
    "http.debug.prometheus.classes.ours[0]": "ghcr.io/org/**",
    "health.storagedriver.enabled": "true",
    "health.storagedriver.interval": "1h30m",
    "health.storagedriver.threshold": "3",
    "health.file[0].file": "/stop",
    "health.file[0].interval": "1s",
    "health.file[0].threshold": "1",
    "health.http[0].uri": "https://example.com/",
    "health.http[0].headers.x-two[0]": "b",
    "health.http[0].statuscode": "204",
    "health.http[0].timeout": "1s",
    "health.http[0].interval": "2s",
    "health.http[0].threshold": "2",
    "health.tcp[0].addr": "db:5432",
    "health.tcp[0].timeout": "3s",
    "health.tcp[0].interval": "4s",
    "health.tcp[0].threshold": "5",
    "proxy.remoteurl": "https://ghcr.io",
    "proxy.username": "someone",
    "proxy.password": "hunter2",
    "proxy.exec.command": "docker-credential-x",
    "proxy.exec.lifetime": "5m",
    "proxy.tagttl": "0s",
    "proxy.connecttimeout": "1s",
    "proxy.firstbytetimeout": "2s",
    "proxy.stalltimeout": "3s",
    "proxy.maxmanifestsize": "1024",
    "proxy.maxtransfers": "4",
    "proxy.blobconnections": "1",
    "proxy.prefetch": "platforms",
    "proxy.tracecontext": "true",
    "proxy.ttl": "24h",
    "proxy.retention.maxsize": "50GB",
    "proxy.retention.maxage": "2w",
    "proxy.trustedrealms[0]": "auth.example.com",
    "proxy.aliases[0]": "ghcr.io",
    "proxy.endpoints[0]": "https://near.example.com",
    "proxy.accounts[0].username": "one",
    "proxy.accounts[0].password": "hunter3",
    "proxy.credentialsfile": "/run/secrets/config.json",
    "proxy.ca": "/ca.pem",
    "proxy.clientcertificate": "/client.pem",
    "proxy.clientkey": "/client.key",
    "proxy.insecure": "true",
    "proxy.httpproxy": "http://proxy.example.com:3128",
    "proxy.immutabletags[0]": "v*",
    "proxy.staleforhours": "48",
    "proxy.allow[0]": "library/*",
    "proxy.deny[0]": "library/bad",
    "proxy.platforms[0]": "linux/amd64",
    "upstreams.ghcr.remoteurl": "https://ghcr.io",
    "upstreams.ghcr.username": "u",
    "upstreams.ghcr.password": "hunter4",
    "upstreams.ghcr.exec.command": "docker-credential-y",
    "upstreams.ghcr.exec.lifetime": "0s",
    "upstreams.ghcr.accounts[0].username": "two",
    "upstreams.ghcr.accounts[0].password": "hunter5",
    "upstreams.ghcr.credentialsfile": "/c.json",
    "upstreams.ghcr.endpoints[0]": "https://a.example.com",
    "upstreams.ghcr.aliases[0]": "ghcr.io",
    "upstreams.ghcr.trustedrealms[0]": "t.example.com",
    "upstreams.ghcr.ca": "/ca.pem",
    "upstreams.ghcr.clientcertificate": "/c.pem",
    "upstreams.ghcr.clientkey": "/c.key",
    "upstreams.ghcr.insecure": "true",
    "upstreams.ghcr.httpproxy": "http://p.example.com:1",
    "upstreams.ghcr.tagttl": "1h",
    "upstreams.ghcr.immutabletags[0]": "v*",
    "upstreams.ghcr.staleforhours": "1",
    "upstreams.ghcr.allow[0]": "org/*",
    "upstreams.ghcr.deny[0]": "org/bad",
    "upstreams.ghcr.platforms[0]": "linux/arm64/v8",
    "upstreams.ghcr.connecttimeout": "1s",
    "upstreams.ghcr.firstbytetimeout": "2s",
    "upstreams.ghcr.stalltimeout": "3s",
    "upstreams.ghcr.maxmanifestsize": "2048",
    "upstreams.ghcr.maxtransfers": "2",
    "upstreams.ghcr.blobconnections": "2",
    "upstreams.ghcr.prefetch": "platforms",
    "upstreams.ghcr.tracecontext": "true",
    "upstreams.ghcr.retention.maxsize": "20 GiB",
    "upstreams.ghcr.retention.maxage": "7d",
    "upstreams.ghcr.listen": ":5002",
    "upstreams.ghcr.hosts[0]": "ghcr.example.com",
    "auth.htpasswd.realm": "mirror",
    "auth.htpasswd.path": "/htpasswd",
    "access.trustedproxies[0]": "10.0.0.1",
    "access.allownetworks[0]": "10.0.0.0/8",
    "access.denynetworks[0]": "10.1.0.0/16",
    "access.headers[0].name": "X-Mirror-Key",
    "access.headers[0].secret": "hunter6-hunter6-hunter6",
    "access.headers[0].identity": "ci",
    "access.groups.ghcr[0]": "user:alice",
    "access.admins[0]": "group:ghcr",
    "access.rules[0].allow[0]": "everybody",
    "access.rules[0].networks[0]": "fd00::/8",
    "access.rules[0].upstreams[0]": "docker.io",
    "access.rules[0].repositories[0]": "library/*",
    "access.rules[1].deny[0]": "certificate:old-*",
    "mirror.offline": "true",
    "mirror.wellknown": "false",
    "retention.maxsize": "100GB",
    "retention.maxage": "30d",
    "retention.minfree": "5%",
    "retention.pins[0]": "docker.io/library/alpine:*",
    "retention.schedule": "0 3 * * 0",
    "retention.grace": "10m",
    "verify.schedule": "0 3 1 * *",
    "verify.rate": "50MB",
}

# A list's element or a section cannot do without these, nor a certificate without its key.
NEEDS: Final = {
    "health.file[0]": "health.file[0].file",
    "health.http[0]": "health.http[0].uri",
    "health.tcp[0]": "health.tcp[0].addr",
    "notifications.endpoints[0]": "notifications.endpoints[0].url",
    "notifications.endpoints[0].url": "notifications.endpoints[0].name",
    "proxy.exec": "proxy.exec.command",
    "proxy.accounts[0].username": "proxy.accounts[0].password",
    "proxy.accounts[0].password": "proxy.accounts[0].username",
    "proxy.clientcertificate": "proxy.clientkey",
    "proxy.clientkey": "proxy.clientcertificate",
    "upstreams.ghcr.exec": "upstreams.ghcr.exec.command",
    "upstreams.ghcr.accounts[0].username": "upstreams.ghcr.accounts[0].password",
    "upstreams.ghcr.accounts[0].password": "upstreams.ghcr.accounts[0].username",
    "upstreams.ghcr.clientcertificate": "upstreams.ghcr.clientkey",
    "upstreams.ghcr.clientkey": "upstreams.ghcr.clientcertificate",
    "auth.htpasswd.realm": "auth.htpasswd.path",
    "auth.htpasswd.path": "auth.htpasswd.realm",
    "access.headers[0].name": "access.headers[0].secret",
    "access.headers[0].secret": "access.headers[0].identity",
    "access.headers[0].identity": "access.headers[0].name",
    "access.rules[0]": "access.rules[0].allow[0]",
    "access.rules[1]": "access.rules[0].allow[0]",
    "http.tls.certificate": "http.tls.key",
    "http.tls.key": "http.tls.certificate",
    "http.tls.clientcas": "http.tls.certificate",
}


def parts_of(path: str) -> list[str]:
    """Split a path as a variable's name is split: indexes are parts."""
    return path.replace("[", ".").replace("]", "").split(".")


def variable_of(path: str) -> str:
    """Name the variable that sets a path."""
    return "REGISTRY_" + "_".join(parts_of(path)).upper()


def complete(paths: set[str]) -> set[str]:
    """Add what the given paths cannot do without."""
    wanted = set(paths)
    while True:
        more = {
            needed for place, needed in NEEDS.items() for path in wanted if path.startswith(place)
        }
        if more <= wanted:
            return wanted
        wanted |= more


def document_of(paths: set[str]) -> dict[str, Value]:
    """Build the document that gives every path its sample."""
    document: dict[str, Value] = {"storage": {"filesystem": {}}}
    for path in sorted(paths):
        _put(document, parts_of(path), SAMPLES[path])
    return document


def settings_of(document: dict[str, Value], environ: dict[str, str]) -> Settings:
    """Validate a document with variables over it, expecting no problem."""
    overridden = override(document, environ)
    assessment = assess(overridden.document)
    assert not overridden.problems
    assert not overridden.notices
    assert not assessment.problems
    return Settings.model_validate(assessment.document)


def examine_text(directory: Path, text: str, environ: dict[str, str] | None = None) -> Examination:
    """Examine a configuration file of this text."""
    path = directory / "config.yml"
    path.write_text(text)
    return examine(path, environ or {})


def problem_texts(examination: Examination) -> list[str]:
    """Give all problems as the operator reads them."""
    return [str(problem) for problem in examination.problems]


def cases(name: str) -> list[tuple[str, str]]:
    """Read a table of texts, each followed by an arrow and what is expected of it."""
    table = (Path(__file__).parent / name).read_text("utf-8")
    blocks = table.split("\n\n")[1:]
    pairs = [block.strip("\n").partition("\n  => ") for block in blocks]
    return [(text.removeprefix("(nothing)"), expected) for text, _, expected in pairs]


def notice_texts(examination: Examination) -> list[str]:
    """Give all notices as the operator reads them."""
    return [str(notice) for notice in examination.notices]


def _put(holder: Value, parts: list[str], text: str) -> None:
    part, *rest = parts
    inner: Value = ([] if rest[0].isdecimal() else {}) if rest else text
    if isinstance(holder, list):
        if int(part) == len(holder):
            holder.append(inner)
        inner = holder[int(part)]
    elif isinstance(holder, dict):
        inner = holder.setdefault(part, inner)
    if rest:
        _put(inner, rest, text)
