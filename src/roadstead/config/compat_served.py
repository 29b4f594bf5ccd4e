"""The compatibility table, first part: what a mirror does for its clients and operators."""

from roadstead.config.key import Key, Status, family

_WORKS = Status.WORKS
_ACCEPTED = Status.ACCEPTED
_IGNORED = Status.IGNORED
_REFUSED = Status.REFUSED

GENERAL = (
    Key("version", _WORKS, "must be `0.1`; required in a file"),
    Key("log.level", _WORKS, "`error`, `warn`, `info` or `debug`, in any case"),
    Key("log.formatter", _WORKS, "`text`, `json` or `logstash`"),
    Key("log.fields.**", _WORKS, "static fields on every line"),
    Key("log.accesslog.disabled", _WORKS, "no access log on stdout"),
    Key("log.audit.disabled", _WORKS, "no line in the log for each call that steers the mirror"),
    Key("log.reportcaller", _WORKS, "adds `func` and `file` to every line (3.x)"),
    Key("log.hooks", _IGNORED, "no mail is sent; send the log on with your log collector"),
    Key("log.hooks[].options", _IGNORED, "", field="MAILOPTIONS"),
    *family("log.hooks[]", _IGNORED, "type levels[] disabled=false"),
    *family(
        "log.hooks[].options",
        _IGNORED,
        "from to[] smtp.addr smtp.username smtp.password smtp.insecure=false",
    ),
    Key("loglevel", _WORKS, "deprecated; used if `log.level` is not set"),
    Key("catalog.maxentries", _WORKS, "most names on one page of `_catalog`; 0 is the default"),
    Key("tags.maxtags", _WORKS, "most tags on one page of `tags/list` (3.1); 0 is the default"),
)

HTTP = (
    Key("http.addr", _WORKS, "`host:port`, `:port`, or a socket's path with `net: unix`"),
    Key("http.net", _WORKS, "`tcp` or `unix`"),
    Key("http.prefix", _WORKS, "a path in front of `/v2/`; missing slashes are added"),
    Key("http.draintimeout", _WORKS, "how long running transfers may take to end at a stop"),
    Key(
        "http.shutdowndelay",
        _WORKS,
        "how long the mirror goes on serving after it was told to stop, while `/readyz` fails",
    ),
    Key(
        "http.workers",
        _WORKS,
        "how many processes serve clients, over one store; by default one, which does all; a "
        "change from or to one takes a restart (see [operations](operations.md#worker-processes))",
    ),
    Key(
        "http.accelredirect",
        _WORKS,
        "behind nginx: its internal location over the store's `blobs` directory; held blobs are "
        "then answered with `X-Accel-Redirect` and sent by nginx",
    ),
    Key("http.headers.*[]", _WORKS, "added to every routed answer"),
    Key("http.tls.certificate", _WORKS, "PEM file; turns TLS on"),
    Key("http.tls.key", _WORKS, "PEM file"),
    Key("http.tls.clientcas[]", _WORKS, "PEM files; clients must show a certificate of theirs"),
    Key(
        "http.tls.clientauth",
        _WORKS,
        "how strictly (3.x); without `clientcas` no effect; `request-client-cert` asks for none, "
        "`require-any-client-cert` is refused: OpenSSL has no unverified certificates",
    ),
    Key("http.tls.minimumtls", _WORKS, "`tls1.2` or `tls1.3`; older ones are refused, as by 3.x"),
    Key("http.tls.ciphersuites[]", _WORKS, "Go's names, for TLS 1.2; weak ones are refused"),
    Key(
        "http.tls.letsencrypt.cachefile",
        _WORKS,
        "a folder for certificate and keys (3.x); turns ACME on, which needs `roadstead[acme]`",
    ),
    Key("http.tls.letsencrypt.email", _WORKS, "where the authority writes to"),
    Key("http.tls.letsencrypt.hosts[]", _WORKS, "names to certify; required"),
    Key("http.tls.letsencrypt.directoryurl", _WORKS, "another ACME server (3.x)"),
    Key(
        "http.tls.letsencrypt.httpaddr",
        _WORKS,
        "where challenges are answered (HTTP-01); must be reached as port 80 of the hosts",
    ),
    Key("http.limits.connections", _WORKS, "open at one time; 0: as many as descriptors allow"),
    Key(
        "http.limits.connectionsperclient",
        _WORKS,
        "of one address, or one /64 of IPv6; 0: three quarters of all",
    ),
    Key("http.limits.requestspersecond", _WORKS, "of one client, on average; 0: no limit"),
    Key("http.limits.headersize", _WORKS, "of one request, in bytes"),
    Key("http.limits.idletimeout", _WORKS, "longest time without a whole request"),
    Key("http.limits.stalltimeout", _WORKS, "longest time in which a client reads nothing"),
    Key("http.debug.addr", _WORKS, "the second listener, for operators; empty is off"),
    Key("http.debug.prometheus.enabled", _WORKS, "metrics on the debug listener"),
    Key("http.debug.prometheus.path", _WORKS, "where"),
    Key(
        "http.debug.prometheus.classes.*[]",
        _WORKS,
        "classes of repositories that metrics tell apart, as patterns such as `ghcr.io/org/**`; "
        "the first that matches counts, and `other` is the rest; without any, `library` is "
        "`docker.io/library/*`",
    ),
    Key("http.host", _WORKS, "scheme and host of the URLs in notifications; else as clients ask"),
    Key("http.secret", _ACCEPTED, "only signs the state of uploads, which a mirror has not"),
    Key("http.relativeurls", _ACCEPTED, "only shapes URLs of uploads", "false"),
    Key("http.http2.disabled", _ACCEPTED, "HTTP/1.1 is spoken whatever it says", "false"),
    Key("http.h2c", _IGNORED, "HTTP/1.1 is spoken; put a proxy in front for HTTP/2"),
    *family("http.h2c", _IGNORED, "enabled=false"),
)

HEALTH = (
    Key("health.file", _WORKS, "a list of checks", field="FILECHECKERS"),
    Key("health.http", _WORKS, "a list of checks", field="HTTPCHECKERS"),
    Key("health.tcp", _WORKS, "a list of checks", field="TCPCHECKERS"),
    Key("health.storagedriver.enabled", _WORKS, "checks that the store can be reached"),
    Key("health.storagedriver.interval", _WORKS, "time between two checks"),
    Key("health.storagedriver.threshold", _WORKS, "failures in a row that count; 0 is 1"),
    Key("health.file[].file", _WORKS, "unhealthy while this file exists; required"),
    Key("health.file[].interval", _WORKS, "time between two checks"),
    Key("health.file[].threshold", _WORKS, "failures in a row that count (not in distribution)"),
    Key("health.http[].uri", _WORKS, "is asked with HEAD; required"),
    Key("health.http[].headers.*[]", _WORKS, "sent with the request"),
    Key("health.http[].statuscode", _WORKS, "the status expected"),
    Key("health.http[].timeout", _WORKS, "never unbounded: 0 is the default"),
    Key("health.http[].interval", _WORKS, "time between two checks"),
    Key("health.http[].threshold", _WORKS, "failures in a row that count"),
    Key("health.tcp[].addr", _WORKS, "`host:port` that must accept connections; required"),
    Key("health.tcp[].timeout", _WORKS, "never unbounded: 0 is the default"),
    Key("health.tcp[].interval", _WORKS, "time between two checks"),
    Key("health.tcp[].threshold", _WORKS, "failures in a row that count"),
)
