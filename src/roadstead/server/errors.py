"""How every error becomes a response: one table and one function that writes the body."""

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from roadstead import errors
from roadstead.oci.errorcode import ErrorCode

# Longest Retry-After passed on, in seconds. podman, buildah and skopeo sleep through it up to
# five times before they fall back to the origin; without one they sleep 30 s in all
# (facts/protocol.md 2.2).
MAX_RETRY_AFTER_SECONDS = 5

# An upstream that refuses *our* credentials must not become a 401 here: Docker answers a
# challenge with the user's Docker Hub password (docs/adr/0003).
STATUS_BY_ERROR: dict[type[errors.RoadsteadError], tuple[ErrorCode, int]] = {
    errors.RoadsteadError: (ErrorCode.UNKNOWN, 500),
    errors.InvalidReferenceError: (ErrorCode.NAME_INVALID, 400),
    errors.InvalidCallError: (ErrorCode.UNKNOWN, 400),
    errors.NamespaceConflictError: (ErrorCode.NAME_INVALID, 400),
    errors.RepositoryDeniedError: (ErrorCode.DENIED, 403),
    errors.PlatformDeniedError: (ErrorCode.DENIED, 403),
    errors.AccessError: (ErrorCode.DENIED, 403),
    errors.AuthenticationRequiredError: (ErrorCode.UNAUTHORIZED, 401),
    errors.AccessDeniedError: (ErrorCode.DENIED, 403),
    errors.TooManyAttemptsError: (ErrorCode.TOOMANYREQUESTS, 429),
    errors.UnknownContentError: (ErrorCode.MANIFEST_UNKNOWN, 404),
    errors.RepositoryUnknownError: (ErrorCode.NAME_UNKNOWN, 404),
    errors.NamespaceUnknownError: (ErrorCode.NAME_UNKNOWN, 404),
    errors.ManifestUnknownError: (ErrorCode.MANIFEST_UNKNOWN, 404),
    errors.BlobUnknownError: (ErrorCode.BLOB_UNKNOWN, 404),
    errors.ContentError: (ErrorCode.UNAVAILABLE, 502),
    errors.DigestMismatchError: (ErrorCode.UNAVAILABLE, 502),
    errors.ManifestInvalidError: (ErrorCode.UNAVAILABLE, 502),
    errors.ContentTooLargeError: (ErrorCode.UNAVAILABLE, 502),
    errors.UpstreamError: (ErrorCode.UNAVAILABLE, 502),
    errors.UpstreamUnreachableError: (ErrorCode.UNAVAILABLE, 502),
    errors.UpstreamTimeoutError: (ErrorCode.UNAVAILABLE, 504),
    errors.UpstreamUnauthorizedError: (ErrorCode.DENIED, 403),
    errors.UpstreamDeniedError: (ErrorCode.DENIED, 403),
    errors.UpstreamRateLimitedError: (ErrorCode.TOOMANYREQUESTS, 429),
    errors.UpstreamUnavailableError: (ErrorCode.UNAVAILABLE, 502),
    errors.UpstreamProtocolError: (ErrorCode.UNAVAILABLE, 502),
    errors.StorageError: (ErrorCode.UNAVAILABLE, 503),
    errors.StorageFullError: (ErrorCode.UNAVAILABLE, 503),
    errors.StorageUnavailableError: (ErrorCode.UNAVAILABLE, 503),
    errors.StorageBusyError: (ErrorCode.UNAVAILABLE, 503),
    errors.MetadataError: (ErrorCode.UNAVAILABLE, 503),
    errors.ImageLayoutError: (ErrorCode.UNKNOWN, 500),
    errors.ConfigError: (ErrorCode.UNKNOWN, 500),
}

# For a ``detail`` that is there and says nothing, as in the 401 of ``/v2/`` (registry 2.8).
NULL: Final = object()

# A text that can be no tag names nothing, so it is unknown rather than invalid: the conformance
# suite of the distribution-spec asks for .INVALID_MANIFEST_NAME and wants 404.
_INVALID_PART = {
    "repository": ErrorCode.NAME_INVALID,
    "tag": ErrorCode.MANIFEST_UNKNOWN,
    "digest": ErrorCode.DIGEST_INVALID,
    "pattern": ErrorCode.NAME_INVALID,
    "upstream": ErrorCode.NAME_INVALID,
}


class ErrorResponse(web.Response):
    """An error in the form of the distribution-spec, ``{"errors": [...]}``.

    It remembers what it says, for the request logs.
    """

    def __init__(
        self,
        code: ErrorCode,
        *,
        status: int | None = None,
        message: str | None = None,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``status`` and ``message`` default to those of ``code``; no ``detail``, no key."""
        self.code = code
        self.message = message or code.message
        entry: dict[str, Any] = {"code": code.name, "message": self.message}
        if detail is not None:
            entry["detail"] = None if detail is NULL else detail
        super().__init__(
            status=status or code.status,
            body=json_body({"errors": [entry]}),
            content_type="application/json",
            headers={"Cache-Control": "no-store", **(headers or {})},
        )


def render_error(error: errors.RoadsteadError) -> ErrorResponse:
    """Turn an error of the program into a response in the spec's form."""
    return _render_refusal(error) if isinstance(error, errors.AccessError) else _render(error)


def _render(error: errors.RoadsteadError) -> ErrorResponse:
    code, status = STATUS_BY_ERROR[type(error)]
    headers = {}
    message = code.message
    detail: object = str(error)
    match error:
        case errors.InvalidReferenceError():
            code = _INVALID_PART[error.part]
            status = code.status
            message = str(error)
            if error.part == "repository":
                message = f"{code.message}: {error.given!r}"
            detail = error.given
        case errors.RepositoryUnknownError():
            detail = {"name": error.repository}
        case (
            errors.NamespaceConflictError()
            | errors.InvalidCallError()
            | errors.RepositoryDeniedError()
            | errors.PlatformDeniedError()
        ):
            message = str(error)
        case errors.NamespaceUnknownError():
            message = str(error)
            detail = {"ns": error.namespace}
        case errors.BlobUnknownError():
            detail = error.digest
        case errors.ManifestUnknownError():
            detail = {"name": error.repository, "reference": error.reference}
        case errors.UpstreamRateLimitedError():
            message = str(error)
            headers["Retry-After"] = _retry_after(error.retry_after_seconds or 1)
        case errors.UpstreamError() | errors.ContentError() | errors.StorageError():
            # The message is the only part that docker shows to a person.
            message = f"{code.message}: {error}"
    return ErrorResponse(code, status=status, message=message, detail=detail, headers=headers)


def _render_refusal(error: errors.AccessError) -> ErrorResponse:
    code, status = STATUS_BY_ERROR[type(error)]
    match error:
        case errors.AuthenticationRequiredError():
            challenge = {"Www-Authenticate": error.challenge}
            return ErrorResponse(code, detail=error.wanted or NULL, headers=challenge)
        case errors.TooManyAttemptsError():
            headers = {"Retry-After": _retry_after(error.retry_after_seconds)}
            return ErrorResponse(code, message=str(error), headers=headers)
        case _:
            return ErrorResponse(code, status=status, message=str(error))


def _retry_after(seconds: float) -> str:
    return str(int(min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS)))


def json_body(document: object) -> bytes:
    """Encode as distribution does: compact, a newline at the end, ``<>&`` escaped."""
    text = json.dumps(document, separators=(",", ":"))
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return f"{escaped}\n".encode()
