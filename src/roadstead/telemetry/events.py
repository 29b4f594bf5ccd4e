"""What happened, as frozen values handed to an observer.

The core reports facts and knows no metric and no log line; metrics and logs are observers
that the composition root plugs in. Events may come from any thread; observers that mind are
wrapped by ``on_loop``. They must not block.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Kind(StrEnum):
    """What a request was for, in the words of distribution's proxy metrics."""

    BLOB = "blob"
    MANIFEST = "manifest"


class Outcome(StrEnum):
    """Where the answer to one request came from."""

    HIT = "hit"
    """Held, and no upstream was asked."""
    MISS = "miss"
    """Not held; this request started the fetch."""
    REVALIDATED = "revalidated"
    """Held, and upstream said that it is still current."""
    STALE = "stale"
    """Held, and upstream could not be asked."""
    JOINED = "joined"
    """Not held; a fetch that another request had started was joined."""

    @property
    def is_hit(self) -> bool:
        """Whether the content was held: hit, revalidated or stale."""
        return self in _HITS


_HITS = frozenset({Outcome.HIT, Outcome.REVALIDATED, Outcome.STALE})


class CallKind(StrEnum):
    """What an upstream is asked for; a label of metrics."""

    MANIFEST_HEAD = "manifest-head"
    MANIFEST = "manifest"
    BLOB_HEAD = "blob-head"
    BLOB = "blob"
    """A transfer, until its first byte can be read."""
    RANGE = "range"
    """A part that is passed through, until its first byte can be read."""
    TAGS = "tags"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class Served:
    """A client got content of ``size_bytes``, or its headers; ``sent_bytes`` of it went out.

    ``upstream`` is the configured name, ``repository`` the stored name.
    """

    kind: Kind
    outcome: Outcome
    size_bytes: int
    sent_bytes: int
    upstream: str = ""
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A transfer from ``upstream``, by its configured name, is complete and verified."""

    kind: Kind
    size_bytes: int
    seconds: float
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """Verified content became visible in the store."""

    kind: Kind
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CacheAsked:
    """The in-memory map in front of the store was asked for a manifest or a blob's link."""

    hit: bool


@dataclass(frozen=True, slots=True)
class FlightStarted:
    """An upstream fetch of a blob began; ``resumed_bytes`` of it were here already."""

    resumed_bytes: int


@dataclass(frozen=True, slots=True)
class FlightEnded:
    """An upstream fetch of a blob ended; ``error`` is the class name of what ended it, if any."""

    error: str | None


@dataclass(frozen=True, slots=True)
class ReadersChanged:
    """So many requests more (less, if negative) read what a flight brings."""

    change: int


@dataclass(frozen=True, slots=True)
class TransferResumed:
    """A cut transfer goes on with a Range request at ``offset_bytes``."""

    offset_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentStarted:
    """A part of a large blob is fetched over a connection of its own."""


@dataclass(frozen=True, slots=True)
class Prefetched:
    """The fetch of a blob that nobody has asked for yet has begun."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class PrefetchUsed:
    """A client asks, for the first time, for a blob that was fetched ahead."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class UpstreamFailed:
    """A call to an upstream, by its configured name, failed for good; ``error``: class name."""

    upstream: str
    error: str


@dataclass(frozen=True, slots=True)
class UpstreamAsked:
    """One endpoint of an upstream was asked once, and answered, or failed, in ``seconds``.

    ``error`` is the class name of what it led to, if not to success.
    """

    upstream: str
    kind: CallKind
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetSeen:
    """An upstream told how many pulls are left to one of our accounts.

    ``account`` is a user name or ``anonymous``; ``resets_at``, in seconds since the epoch, is
    when all ``limit`` pulls are back if none is spent until then.
    """

    upstream: str
    account: str
    limit: int
    remaining: int
    resets_at: float


@dataclass(frozen=True, slots=True)
class EndpointMarked:
    """An endpoint of an upstream failed and is avoided for a while, or is well (again)."""

    upstream: str
    endpoint: str
    healthy: bool


@dataclass(frozen=True, slots=True)
class StorageTimed:
    """One storage action took ``seconds``; ``action`` is distribution's name for it.

    GetContent, PutContent, Stat, List, Move or Delete.
    """

    action: str
    seconds: float


class Notification(StrEnum):
    """What becomes of an event for a notification endpoint, in the words of distribution."""

    EVENTS = "Events"
    """It was queued."""
    SUCCESSES = "Successes"
    """It was delivered."""
    FAILURES = "Failures"
    """A try was answered with an error."""
    ERRORS = "Errors"
    """A try was not answered."""
    DROPPED = "Dropped"
    """The queue was full, and the oldest event was given up."""


@dataclass(frozen=True, slots=True)
class NotificationCounted:
    """Something became of an event for the endpoint of this name."""

    endpoint: str
    what: Notification


@dataclass(frozen=True, slots=True)
class NotificationAnswered:
    """An endpoint answered with ``status``, such as ``200 OK``."""

    endpoint: str
    status: str


@dataclass(frozen=True, slots=True)
class StorageFailed:
    """The operating system refused a storage operation; ``error`` is its name, as ``ENOSPC``.

    ``operation`` is open, write, sync, rename, link, manifest, tag, referrers, remove, probe or
    read.
    """

    operation: str
    error: str


@dataclass(frozen=True, slots=True)
class StorageStands:
    """The store was found to take writes again, or not to take them any more."""

    writable: bool


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A blob goes straight from upstream to one client, because the store cannot take it."""


@dataclass(frozen=True, slots=True)
class MetadataFailed:
    """The metadata database failed; ``action`` is open, read or write."""

    action: str


@dataclass(frozen=True, slots=True)
class MetadataSettled:
    """The metadata database became reliable (``whole``), or ceased to be."""

    whole: bool


class EvictionReason(StrEnum):
    """Why something goes; a label of metrics."""

    ORPHAN = "orphan"
    """Nothing that is held needs it."""
    MAXAGE = "maxage"
    """Nobody has pulled it for longer than ``retention.maxage``, or its upstream's."""
    TTL = "ttl"
    """Nobody has pulled it for longer than ``proxy.ttl``."""
    MAXSIZE = "maxsize"
    """``retention.maxsize`` would be crossed."""
    UPSTREAM_MAXSIZE = "upstream-maxsize"
    """The ``maxsize`` of its upstream would be crossed."""
    MINFREE = "minfree"
    """The file system has less space free than ``retention.minfree``, or has none."""
    ASKED = "asked"
    """An operator asked for it."""


@dataclass(frozen=True, slots=True)
class SpaceMeasured:
    """So much is held, arriving ones included; ``limit_bytes`` is None where there is none.

    ``upstream`` is empty for everything.
    """

    upstream: str
    used_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class DiskMeasured:
    """How the file system of the store stands; ``free_bytes`` is what may still be written."""

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class ImageEvicted:
    """An image was removed, by policy or by hand."""

    reason: EvictionReason


@dataclass(frozen=True, slots=True)
class DataEvicted:
    """Data that nothing needs any more was removed, which freed ``size_bytes``."""

    reason: EvictionReason
    blobs: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NotKept:
    """There was no room for content: it went through to the clients and was not stored."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Verified:
    """Held data was hashed and found right."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class RetentionRan:
    """Retention did what the limits asked for, but for ``missing_bytes`` that are protected.

    ``at`` is when it began, in seconds since the epoch; ``trigger`` is schedule, ttl, watch,
    room or an operator's command.
    """

    trigger: str
    at: float
    seconds: float
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class DamageFound:
    """Held data was found to be wrong; ``damage`` is content, empty or unreadable."""

    damage: str


@dataclass(frozen=True, slots=True)
class Healed:
    """Damaged data was fetched again; ``error`` is the class name of why it was not, if so."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class VerificationEnded:
    """Everything was looked at; ``at`` is in seconds since the epoch."""

    at: float


class Refusal(StrEnum):
    """Which limit was met; a label of metrics."""

    CLIENT_CONNECTIONS = "client-connections"
    """One client has as many connections as one may."""
    CONNECTIONS = "connections"
    """All clients together have as many as there may be, and none of them is idle."""
    CLIENT_RATE = "client-rate"
    """A client asks more often than one may."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection was closed, or a request answered with 429, for the sake of a limit."""

    limit: Refusal


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request was answered with an error, or its answer was broken off.

    ``error`` is the class name of an error of roadstead.errors, or says in a word or two what
    else it was; it is never made of what a client or an upstream sent.
    """

    error: str


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """A request was routed; ``handler`` is distribution's label (base, blob, manifest...)."""

    handler: str


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """A routed request is answered; sizes are those of the bodies, in bytes."""

    handler: str
    method: str
    status: int
    seconds: float
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """A request was answered with status 200 just as an earlier one (server/repeats.py).

    It stands for a CacheAsked, RequestStarted, Served and RequestEnded, all of a hit; the label
    ``handler`` is the same as ``kind``.
    """

    kind: Kind
    method: str
    size_bytes: int
    sent_bytes: int
    seconds: float
    upstream: str = ""
    repository: str = ""


Event: TypeAlias = (
    Served
    | Fetched
    | Stored
    | CacheAsked
    | FlightStarted
    | FlightEnded
    | ReadersChanged
    | TransferResumed
    | SegmentStarted
    | Prefetched
    | PrefetchUsed
    | UpstreamFailed
    | UpstreamAsked
    | BudgetSeen
    | EndpointMarked
    | StorageTimed
    | NotificationCounted
    | NotificationAnswered
    | StorageFailed
    | StorageStands
    | PassedOn
    | MetadataFailed
    | MetadataSettled
    | SpaceMeasured
    | DiskMeasured
    | ImageEvicted
    | DataEvicted
    | NotKept
    | RetentionRan
    | Verified
    | DamageFound
    | Healed
    | VerificationEnded
    | Refused
    | RequestFailed
    | RequestStarted
    | RequestEnded
    | Repeated
)

Observer: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Observe nothing."""


def on_loop(observer: Observer) -> Observer:
    """Wrap an observer so that events from other threads reach it on the running event loop."""
    loop = asyncio.get_running_loop()
    home = threading.get_ident()

    def forward(event: Event) -> None:
        if threading.get_ident() == home:
            observer(event)
        else:
            loop.call_soon_threadsafe(observer, event)

    return forward
