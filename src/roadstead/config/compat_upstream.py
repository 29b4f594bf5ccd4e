"""The compatibility table, part two: ``proxy``, ``upstreams`` and ``mirror``.

``proxy`` is distribution's section and describes the default upstream. Whatever can be said of
one upstream can be said of each under ``upstreams.<name>``.
"""

from roadstead.config.key import Key, Status

_WORKS = Status.WORKS
_IGNORED = Status.IGNORED


def _shared(section: str) -> tuple[Key, ...]:
    """Make the keys that every upstream has."""
    meanings = {
        "username": "the account at the upstream",
        "password": "its password or token",
        "exec.command": "a credential helper, instead of username and password (3.x)",
        "exec.lifetime": "how long its answer is used; unset: for ever; 0: not at all",
        "accounts[].username": "several accounts; the one with the most quota left is used",
        "accounts[].password": "its password or token",
        "credentialsfile": "a Docker `config.json`, containers `auth.json` or pull secret",
        "endpoints[]": "URLs tried in this order; without any, `remoteurl` alone",
        "aliases[]": "further names: as first part of a path, and as values of `?ns=`",
        "trustedrealms[]": "hosts that may be sent the credentials, when the token realm is there",
        "ca": "PEM file with authorities to trust beside the system's",
        "clientcertificate": "PEM file with a certificate to show to the upstream",
        "clientkey": "PEM file with its key",
        "insecure": "does not check the upstream's certificate",
        "httpproxy": "URL of an HTTP proxy; without one, `HTTP_PROXY` and its like are used",
        "tagttl": "how long a tag is served without asking upstream; 0: always ask",
        "immutabletags[]": "patterns of tags that never move and are never asked for again",
        "staleforhours": "how long a tag is served when upstream cannot confirm it; 0: for ever",
        "allow[]": "patterns of repositories; with any, only these are served",
        "deny[]": "patterns of repositories that are not served, whatever `allow` says",
        "platforms[]": "such as linux/amd64; with any, of an index only these are fetched",
        "connecttimeout": "longest wait for a connection to upstream",
        "firstbytetimeout": "longest wait for upstream's answer to begin",
        "stalltimeout": "longest silence in the middle of a transfer",
        "maxmanifestsize": "larger manifests are refused; in bytes",
        "maxtransfers": "blobs fetched from this upstream at one time",
        "prefetch": "`platforms`: layers are fetched once their manifest is taken; of an index, "
        "those for platforms that were ever asked for",
        "tracecontext": "passes traces on, as `traceparent`, to the upstream's own host",
        "blobconnections": "connections for one large blob where one is slow; 1: never more",
        "retention.maxsize": "most that is held of this upstream, such as 20GB; 0: no limit",
        "retention.maxage": "as `retention.maxage`, in its place; 0: no limit",
    }
    return tuple(Key(f"{section}.{name}", _WORKS, meaning) for name, meaning in meanings.items())


PROXY = (
    Key(
        "proxy.remoteurl",
        _WORKS,
        "the default upstream; a path component has no effect, as in distribution",
    ),
    *_shared("proxy"),
    Key(
        "proxy.ttl",
        _WORKS,
        "how long after its last pull an image of the default upstream is kept; 0, or unset: for "
        "ever (in distribution: after the fetch, by default 168h, if `storage.delete.enabled`)",
    ),
    Key(
        "proxy.cachewritetimeout",
        _IGNORED,
        "clients never wait for a write to the store, so there is nothing to limit",
        "5m",
    ),
)

UPSTREAMS = (
    Key("upstreams.*.remoteurl", _WORKS, "without one: `https://` and the upstream's name"),
    *_shared("upstreams.*"),
    Key("upstreams.*.listen", _WORKS, "an address where only this upstream is served"),
    Key("upstreams.*.hosts[]", _WORKS, "values of the Host header that mean this upstream"),
    Key("mirror.offline", _WORKS, "no upstream is ever asked"),
    Key(
        "mirror.wellknown",
        _WORKS,
        "the well-known public registries are there by name, without configuration",
    ),
)

RETENTION = (
    Key("retention.maxsize", _WORKS, "most that is held of everything, such as 100GB; 0: no limit"),
    Key(
        "retention.maxage",
        _WORKS,
        "how long after its last pull an image is kept, such as 30d; 0: no limit",
    ),
    Key(
        "retention.minfree",
        _WORKS,
        "what stays free on the disk, such as 20GB or 5%; 0: nothing; unset: 1 GiB or 2 %, "
        "whichever is less, looked at when something arrives",
    ),
    Key(
        "retention.pins[]",
        _WORKS,
        "patterns of images that stay: `docker.io/library/alpine:*`, `ghcr.io/org/**`",
    ),
    Key(
        "retention.schedule",
        _WORKS,
        "when `maxage` is looked at, as a cron expression in local time; unset: every hour",
    ),
    Key(
        "retention.grace",
        _WORKS,
        "what was stored or pulled within this time stays: a client may be pulling it",
    ),
)
