"""The compatibility table, second part: ``storage`` (registry facts, 1.2 and 1.3)."""

from typing import Final

from roadstead.config.key import Key, Status, family

_ACCEPTED = Status.ACCEPTED
_REFUSED = Status.REFUSED

RESERVED: Final = frozenset({"maintenance", "cache", "delete", "redirect", "tag"})
"""The keys next to the one driver."""

_USE_FILESYSTEM = "use storage.filesystem, and mount a disk at its rootdirectory"
_LATER = "this version stores on a filesystem only"

STORAGE = (
    Key("storage.filesystem.rootdirectory", Status.WORKS, "where everything is held"),
    Key(
        "storage.filesystem.maxthreads",
        Status.WORKS,
        "file operations at one time; at least 25",
    ),
    Key(
        "storage.inmemory",
        _REFUSED,
        "memory would grow with every image and forget them all at a stop",
        fix=_USE_FILESYSTEM,
    ),
    Key("storage.s3", _REFUSED, _LATER, fix=_USE_FILESYSTEM),
    *family(
        "storage.s3",
        _REFUSED,
        "accesskey secretkey region regionendpoint bucket encrypt=false keyid secure=true "
        "skipverify=false v4auth=true chunksize=10485760 multipartcopychunksize=33554432 "
        "multipartcopymaxconcurrency=100 multipartcopythresholdsize=33554432 rootdirectory "
        "storageclass=STANDARD objectacl=private useragent usedualstack=false accelerate=false "
        "loglevel=off forcepathstyle=false usefipsendpoint=false redirectendpoint",
    ),
    Key("storage.s3aws", _REFUSED, "the older name of `s3`: " + _LATER, fix=_USE_FILESYSTEM),
    Key("storage.gcs", _REFUSED, _LATER, fix=_USE_FILESYSTEM),
    *family(
        "storage.gcs",
        _REFUSED,
        "bucket keyfile credentials.** rootdirectory chunksize=5242880 maxconcurrency useragent",
    ),
    Key("storage.azure", _REFUSED, _LATER, fix=_USE_FILESYSTEM),
    *family(
        "storage.azure",
        _REFUSED,
        "accountname accountkey connectionstring container rootdirectory "
        "realm=core.windows.net serviceurl "
        "credentials.type credentials.clientid credentials.tenantid credentials.secret "
        "max_retries=5 retry_delay=100ms skipverify=false",
    ),
    Key("storage.oss", _REFUSED, "gone from distribution since 3.0", fix=_USE_FILESYSTEM),
    *family(
        "storage.oss",
        _REFUSED,
        "accesskeyid accesskeysecret region bucket internal encrypt encryptionkeyid secure "
        "chunksize rootdirectory endpoint",
    ),
    Key("storage.swift", _REFUSED, "gone from distribution since 3.0", fix=_USE_FILESYSTEM),
    *family(
        "storage.swift",
        _REFUSED,
        "username password authurl tenant tenantid domain domainid tenantdomain tenantdomainid "
        "trustid region authversion container prefix endpointtype insecureskipverify chunksize "
        "secretkey accesskey tempurlcontainerkey tempurlmethods",
    ),
    Key(
        "storage.delete.enabled",
        Status.WORKS,
        "admins (`access.admins`) may delete manifests, tags and blobs from the mirror over HTTP",
    ),
    Key("storage.redirect.disable", _ACCEPTED, "a filesystem never redirects", "false"),
    Key(
        "storage.cache.blobdescriptor",
        _ACCEPTED,
        "sizes and digests are remembered in any case",
    ),
    Key("storage.cache.blobdescriptorsize", _ACCEPTED, "see `blobdescriptor` (3.x)", "10000"),
    Key("storage.cache.layerinfo", _ACCEPTED, "the older name of `blobdescriptor`"),
    Key(
        "storage.maintenance.uploadpurging.enabled",
        _ACCEPTED,
        "there are no uploads; unfinished downloads are resumed",
        "true",
    ),
    Key("storage.maintenance.uploadpurging.age", _ACCEPTED, "see `enabled`", "168h"),
    Key("storage.maintenance.uploadpurging.interval", _ACCEPTED, "see `enabled`", "24h"),
    Key("storage.maintenance.uploadpurging.dryrun", _ACCEPTED, "see `enabled`", "false"),
    Key(
        "storage.maintenance.readonly.enabled",
        Status.WORKS,
        "nobody can delete over HTTP, whatever `storage.delete.enabled` says; fetching goes on",
    ),
    Key("storage.tag.concurrencylimit", _ACCEPTED, "only speeds deletion up (3.x)", "0"),
)

VERIFY = (
    Key(
        "verify.schedule",
        Status.WORKS,
        "when everything that is held is hashed again, as a cron expression in local time "
        "(`0 3 1 * *`: monthly); unset: never by itself",
    ),
    Key(
        "verify.rate",
        Status.WORKS,
        "bytes per second that this reads, such as 20MB; 0: as many as it can",
    ),
)
