"""Several sources of credentials as one."""

from collections.abc import Sequence

from roadstead.oci.reference import RepositoryName
from roadstead.upstream.credentials import Credentials, CredentialSource


class ChainedCredentials:
    """The first source that has some; anonymous where none has."""

    def __init__(self, sources: Sequence[CredentialSource]) -> None:
        self._sources = tuple(sources)

    async def get(self, repository: RepositoryName) -> Credentials | None:
        """See CredentialSource.

        Raises:
            UpstreamUnauthorizedError: a source failed. Those behind it are not asked, lest an
                outage of the right account look like a lack of rights of another.
        """
        for source in self._sources:
            found = await source.get(repository)
            if found is not None:
                return found
        return None
