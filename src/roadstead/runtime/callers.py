"""Asks upstreams on behalf of callers, with a client of its own for each question."""

from roadstead.config.schema import Settings
from roadstead.mirror.routing import Destination
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.plan import plan_upstreams
from roadstead.runtime.upstreams import origin_client
from roadstead.server import endpoints
from roadstead.server.access.attempts import Attempts
from roadstead.server.access.callers import CallerCheck, Credentials
from roadstead.upstream import credentials
from roadstead.upstream.base import Upstream


def make_caller_check(settings: Settings) -> CallerCheck | None:
    """Make the check of ``access.checkupstream``; None if no upstream is checked."""
    checked = settings.access.checkupstream
    if not checked:
        return None
    planned = {one.name: one for one in plan_upstreams(settings)}

    async def ask(
        destination: Destination, endpoint: endpoints.Endpoint, who: Credentials | None
    ) -> None:
        account = None if who is None else credentials.Credentials(who[0], who[1])
        source = credentials.StaticCredentials(account)
        # A client that lives for one question keeps no token for the next caller.
        async with origin_client(planned[destination.upstream], source) as upstream:
            await _ask(upstream, RepositoryName(destination.own_name), endpoint)

    return CallerCheck(checked, ask, attempts=Attempts())


async def _ask(
    upstream: Upstream, repository: RepositoryName, endpoint: endpoints.Endpoint
) -> None:
    match endpoint:
        case endpoints.ManifestEndpoint():
            head = await upstream.head_manifest(repository, endpoint.reference)
            if head is None:
                await upstream.get_manifest(repository, endpoint.reference)
        case endpoints.BlobEndpoint():
            await upstream.stat_blob(repository, endpoint.digest)
        case _:
            await upstream.list_tags(repository, limit=1, after=None)
