"""From a request to the mirror that it is for, with headers that say what was decided."""

from roadstead.errors import (
    NamespaceConflictError,
    NamespaceUnknownError,
    PlatformDeniedError,
    RepositoryDeniedError,
    RoadsteadError,
)
from roadstead.mirror.mirror import Mirror
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.reference import RepositoryName
from roadstead.server.incoming import Incoming
from roadstead.server.repeats import UPSTREAM
from roadstead.telemetry.events import Outcome

REASON = "X-Roadstead-Reason"
_OUTCOME = "X-Roadstead-Outcome"
_DENIALS = (
    NamespaceConflictError,
    NamespaceUnknownError,
    PlatformDeniedError,
    RepositoryDeniedError,
)
_LONGEST_REASON = 300


def find_mirror(
    mirrors: Mirrors, incoming: Incoming, repository: RepositoryName
) -> tuple[Mirror, RepositoryName]:
    """Return the mirror and the repository's stored name.

    Raises:
        As Router.route.
    """
    mirror, destination = mirrors.find(repository, incoming.hints)
    headers = incoming.common_headers
    headers[UPSTREAM] = destination.upstream
    incoming.stored_name = destination.repository
    if destination.heeds_namespace:
        # distribution-spec (main): who heeds ``ns`` says so.
        headers["OCI-Namespace"] = incoming.hints.namespace or ""
    return mirror, destination.repository


def note_outcome(incoming: Incoming, outcome: Outcome) -> None:
    """Say in logs and headers where the answer comes from."""
    incoming.outcome = outcome
    incoming.common_headers[_OUTCOME] = outcome


def note_denial(incoming: Incoming, error: RoadsteadError) -> None:
    """Say in headers that the mirror's own rules refused, and which one; else say nothing."""
    if not isinstance(error, _DENIALS):
        return
    headers = incoming.common_headers
    headers[_OUTCOME] = "denied"
    headers[REASON] = header_text(str(error))
    if isinstance(error, RepositoryDeniedError):
        headers[UPSTREAM] = error.upstream


def header_text(text: str) -> str:
    """Make a text fit for a header and for a quoted string in one (RFC 9110, 5.6.4)."""
    return "".join(
        character if " " <= character <= "~" and character not in '"\\' else " "
        for character in text[:_LONGEST_REASON]
    )
