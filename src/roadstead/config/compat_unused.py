"""The compatibility table, third part: sections that this version does not use."""

from roadstead.config.key import Key, Status, family

_ACCEPTED = Status.ACCEPTED
_IGNORED = Status.IGNORED

_PUSH = "is about pushed images, and nothing is pushed to a mirror"

_STORAGE_OPTIONS = (
    "baseurl privatekey keypairid duration=20m ipfilteredby awsregion updatefrequency=12h "
    "iprangesurl scheme host trimpathprefix"
)

MIDDLEWARE = (
    Key("middleware", _IGNORED, "every byte is served by the mirror itself, without redirects"),
    *family("middleware.registry[]", _IGNORED, "name disabled=false options.**"),
    *family("middleware.repository[]", _IGNORED, "name disabled=false options.**"),
    *family("middleware.storage[]", _IGNORED, "name disabled=false options.**"),
    *family("middleware.storage[].options", _IGNORED, _STORAGE_OPTIONS),
)

REDIS = (
    Key("redis", _IGNORED, "no descriptor cache outside the process is needed"),
    *family("redis", _IGNORED, "addr pool.maxidle pool.maxactive pool.idletimeout"),
    *family(
        "redis",
        _IGNORED,
        "addrs[] clientname db protocol username password sentinelusername sentinelpassword "
        "mastername maxretries minretrybackoff maxretrybackoff dialtimeout readtimeout "
        "writetimeout contexttimeoutenabled poolfifo poolsize pooltimeout minidleconns "
        "maxidleconns maxactiveconns connmaxidletime connmaxlifetime maxredirects readonly "
        "routebylatency routerandomly disableidentity identitysuffix unstableresp3 "
        "tls.certificate tls.key tls.rootcas[]",
    ),
)

PUSHES = (
    Key("validation", _ACCEPTED, _PUSH),
    *family("validation", _ACCEPTED, "enabled=false disabled=false"),
    *family("validation", _ACCEPTED, "manifests.urls.allow[] manifests.urls.deny[]"),
    *family("validation.manifests.indexes", _ACCEPTED, "platforms=all"),
    *family("validation.manifests.indexes.platformlist[]", _ACCEPTED, "architecture os"),
    Key("policy", _ACCEPTED, _PUSH),
    *family("policy", _ACCEPTED, "repository.classes[]"),
    Key(
        "compatibility",
        _IGNORED,
        "manifests are served as upstream made them, never converted to schema 1 (2.8)",
    ),
    Key(
        "compatibility.schema1.signingkeyfile",
        _IGNORED,
        "",
        field="TRUSTKEY",
    ),
    *family("compatibility", _IGNORED, "schema1.enabled=false"),
    Key("reporting", _IGNORED, "nothing is reported to Bugsnag or New Relic (2.8)"),
    *family(
        "reporting",
        _IGNORED,
        "bugsnag.apikey bugsnag.releasestage bugsnag.endpoint newrelic.licensekey newrelic.name "
        "newrelic.verbose=false",
    ),
)
