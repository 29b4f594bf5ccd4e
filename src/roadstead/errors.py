"""Everything that can go wrong, as one tree that knows nothing of HTTP.

RoadsteadError
├── InvalidReferenceError          a name, tag or digest that breaks the grammar
├── InvalidCallError               a call that steers the mirror says what cannot be meant
├── NamespaceConflictError         a request names two upstreams at once
├── RepositoryDeniedError          the configuration does not let this repository through
├── PlatformDeniedError            the configuration does not let this platform through
├── AccessError                    the configuration does not let this caller do this
│   ├── AuthenticationRequiredError
│   ├── AccessDeniedError
│   └── TooManyAttemptsError
├── UnknownContentError            upstream (or the store) says: no such thing
│   ├── NamespaceUnknownError
│   ├── RepositoryUnknownError
│   ├── ManifestUnknownError
│   └── BlobUnknownError
├── ContentError                   bytes that are not what they should be
│   ├── DigestMismatchError
│   ├── ManifestInvalidError
│   └── ContentTooLargeError
├── UpstreamError                  upstream did not give what it was asked for
│   ├── UpstreamUnreachableError
│   ├── UpstreamTimeoutError
│   ├── UpstreamUnauthorizedError
│   ├── UpstreamDeniedError
│   ├── UpstreamRateLimitedError
│   ├── UpstreamUnavailableError
│   └── UpstreamProtocolError
├── StorageError                   the store cannot read or write
│   ├── StorageFullError
│   ├── StorageUnavailableError
│   └── StorageBusyError
├── MetadataError                  the metadata database cannot answer
├── ImageLayoutError               images cannot be exported or imported as they are
└── ConfigError                    the configuration cannot be used

Every name ends in Error. Only an UnknownContentError is a miss: a fault is never mistaken
for absence. How each becomes a response is one table, in roadstead.server.errors.
"""

from dataclasses import dataclass


class RoadsteadError(Exception):
    """Base of every error that Roadstead raises on purpose."""


class InvalidReferenceError(RoadsteadError):
    """A repository name, tag or digest does not match its grammar."""

    def __init__(self, part: str, given: str) -> None:
        """Name the offending ``part`` (repository, tag, digest, pattern...) and what was given."""
        super().__init__(f"invalid {part}: {given!r}")
        self.part = part
        self.given = given


class InvalidCallError(RoadsteadError):
    """A call that steers the mirror has arguments that cannot be meant."""


class NamespaceConflictError(RoadsteadError):
    """The path of a request names one upstream and its ``ns`` parameter another."""

    def __init__(self, in_path: str, namespace: str) -> None:
        super().__init__(f"the path names {in_path}, and ns names {namespace}")
        self.in_path = in_path
        self.namespace = namespace


class RepositoryDeniedError(RoadsteadError):
    """The configuration does not let this repository through (``allow``, ``deny``)."""

    def __init__(self, repository: str, upstream: str) -> None:
        super().__init__(f"this mirror does not serve {repository} of {upstream}")
        self.repository = repository
        self.upstream = upstream


class PlatformDeniedError(RoadsteadError):
    """A manifest that is not held is for other platforms than the configuration lists."""

    def __init__(
        self, repository: str, reference: str, *, platforms: list[str], listed: list[str]
    ) -> None:
        super().__init__(
            f"this mirror fetches {repository} for {', '.join(listed)} only, "
            f"and {reference} is for {', '.join(platforms)}"
        )
        self.repository = repository
        self.reference = reference


class AccessError(RoadsteadError):
    """Who asks may not do what was asked for; no message holds a credential."""


class AuthenticationRequiredError(AccessError):
    """The caller has not proved who it is, or not well enough (401)."""

    def __init__(self, challenge: str, *, wanted: object = None) -> None:
        """``challenge`` says how to do it (Www-Authenticate); ``wanted`` is what it is for."""
        super().__init__("authentication required")
        self.challenge = challenge
        self.wanted = wanted


class AccessDeniedError(AccessError):
    """This caller may not do this, whatever else it shows (403)."""


class TooManyAttemptsError(AccessError):
    """So many credentials of this client were wrong that no more are looked at for a while."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__("too many wrong credentials; wait before the next attempt")
        self.retry_after_seconds = retry_after_seconds


class UnknownContentError(RoadsteadError):
    """The content does not exist, as far as anybody who was asked knows."""


class NamespaceUnknownError(UnknownContentError):
    """The client asks for a registry that this mirror does not stand for."""

    def __init__(self, namespace: str) -> None:
        # Somebody may have written a whole URL there, with a password.
        host = namespace.rpartition("@")[2]
        super().__init__(
            f"this mirror has no upstream for {host}; "
            "proxy.aliases and upstreams say which names it has one for"
        )
        self.namespace = host


class RepositoryUnknownError(UnknownContentError):
    """No such repository."""

    def __init__(self, repository: str) -> None:
        super().__init__(f"repository {repository} is unknown")
        self.repository = repository


class ManifestUnknownError(UnknownContentError):
    """No manifest under this tag or digest."""

    def __init__(self, repository: str, reference: str) -> None:
        super().__init__(f"manifest {reference} is unknown in repository {repository}")
        self.repository = repository
        self.reference = reference


class BlobUnknownError(UnknownContentError):
    """No blob with this digest in this repository."""

    def __init__(self, repository: str, digest: str) -> None:
        super().__init__(f"blob {digest} is unknown in repository {repository}")
        self.repository = repository
        self.digest = digest


class ContentError(RoadsteadError):
    """Upstream sent bytes that are not what was asked for; nothing of it was kept."""


class DigestMismatchError(ContentError):
    """The bytes do not hash to the digest that names them."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected content with digest {expected}, received {actual}")
        self.expected = expected
        self.actual = actual


class ManifestInvalidError(ContentError):
    """The document is not a manifest of any known kind."""


class ContentTooLargeError(ContentError):
    """The document is larger than the configured limit."""

    def __init__(self, what: str, limit_bytes: int) -> None:
        super().__init__(f"{what} is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class UpstreamError(RoadsteadError):
    """An upstream registry did not give what it was asked for.

    ``upstream`` is the registry's host; ``status`` its HTTP status where there was one;
    ``retryable`` says whether the same call may succeed soon; ``retry_after_seconds`` is
    upstream's own wish. Messages hold no credential and no query string of a signed URL.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        upstream: str,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"upstream {upstream}: {message}")
        self.upstream = upstream
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class UpstreamUnreachableError(UpstreamError):
    """No connection, or it broke before the answer was complete."""

    retryable = True


class UpstreamTimeoutError(UpstreamError):
    """Connecting, the first byte or the next byte took too long."""

    retryable = True


class UpstreamUnauthorizedError(UpstreamError):
    """Upstream wants other credentials than ours (401), or we must not send them there."""


class UpstreamDeniedError(UpstreamError):
    """Upstream knows us and says no (403)."""


class UpstreamRateLimitedError(UpstreamError):
    """Upstream's quota is used up (429)."""


class UpstreamUnavailableError(UpstreamError):
    """Upstream is in trouble (5xx)."""

    retryable = True


class UpstreamProtocolError(UpstreamError):
    """Upstream's answer makes no sense: wrong type, wrong range, redirect loop."""


class StorageError(RoadsteadError):
    """The store could not be read or written; ``is_told`` once an observer has heard of it."""

    is_told = False


class StorageFullError(StorageError):
    """No space left for the write (ENOSPC, EDQUOT)."""


class StorageUnavailableError(StorageError):
    """Any other input or output error of the store."""


class StorageBusyError(StorageError):
    """Another process is at what only one may do at a time."""


class MetadataError(RoadsteadError):
    """The metadata database cannot answer; the layout can, and the mirror goes on without it."""


class ImageLayoutError(RoadsteadError):
    """An OCI image layout cannot be read, or what it should hold is not there."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong with the configuration: where, what, and how to mend it."""

    path: str
    value: str
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.reason} (given: {self.value})"
        return f"{text}; {self.fix}" if self.fix else text


class ConfigError(RoadsteadError):
    """The configuration cannot be used; ``problems`` lists every reason at once."""

    def __init__(self, problems: list[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
