"""Error codes of the registry API with their HTTP status and standard message.

Source: OCI distribution-spec 1.1, "Error Codes"; UNKNOWN and UNAVAILABLE are
distribution's own (registry/api/errcode).
"""

from enum import Enum
from http import HTTPStatus


class ErrorCode(Enum):
    """One code; its value is ``(status, message)``."""

    UNKNOWN = (HTTPStatus.INTERNAL_SERVER_ERROR, "unknown error")
    UNSUPPORTED = (HTTPStatus.METHOD_NOT_ALLOWED, "The operation is unsupported.")
    UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, "authentication required")
    DENIED = (HTTPStatus.FORBIDDEN, "requested access to the resource is denied")
    UNAVAILABLE = (HTTPStatus.SERVICE_UNAVAILABLE, "service unavailable")
    TOOMANYREQUESTS = (HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
    DIGEST_INVALID = (HTTPStatus.BAD_REQUEST, "provided digest did not match uploaded content")
    NAME_INVALID = (HTTPStatus.BAD_REQUEST, "invalid repository name")
    NAME_UNKNOWN = (HTTPStatus.NOT_FOUND, "repository name not known to registry")
    MANIFEST_UNKNOWN = (HTTPStatus.NOT_FOUND, "manifest unknown")
    MANIFEST_INVALID = (HTTPStatus.BAD_REQUEST, "manifest invalid")
    BLOB_UNKNOWN = (HTTPStatus.NOT_FOUND, "blob unknown to registry")
    BLOB_UPLOAD_UNKNOWN = (HTTPStatus.NOT_FOUND, "blob upload unknown to registry")
    RANGE_INVALID = (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "invalid content range")
    PAGINATION_NUMBER_INVALID = (HTTPStatus.BAD_REQUEST, "invalid number of results requested")

    @property
    def status(self) -> HTTPStatus:
        """HTTP status that goes with the code by default."""
        return self.value[0]

    @property
    def message(self) -> str:
        """Message that distribution sends with the code."""
        return self.value[1]
