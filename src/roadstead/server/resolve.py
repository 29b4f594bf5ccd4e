"""From a request to the mirror that it is for, with headers that say what was decided."""

from roadstead.mirror.mirror import Mirror
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.reference import RepositoryName
from roadstead.server.incoming import Incoming
from roadstead.telemetry.events import Outcome


def find_mirror(
    mirrors: Mirrors, incoming: Incoming, repository: RepositoryName
) -> tuple[Mirror, RepositoryName]:
    """Return the mirror and the repository's stored name.

    Raises:
        As Router.route.
    """
    mirror, destination = mirrors.find(repository, incoming.hints)
    headers = incoming.common_headers
    headers["X-Roadstead-Upstream"] = destination.upstream
    if destination.by == "ns":
        # distribution-spec (main): who chooses by ``ns`` says so.
        headers["OCI-Namespace"] = incoming.hints.namespace or ""
    return mirror, destination.repository


def note_outcome(incoming: Incoming, outcome: Outcome) -> None:
    """Say in logs and headers where the answer comes from."""
    incoming.outcome = outcome
    incoming.common_headers["X-Roadstead-Outcome"] = outcome
