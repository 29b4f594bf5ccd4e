"""Credentials from Docker's config.json, containers' auth.json or a Kubernetes pull secret."""

import functools
import time
from collections.abc import Callable
from pathlib import Path

from roadstead.errors import UpstreamUnauthorizedError
from roadstead.oci.reference import RepositoryName
from roadstead.upstream.credentials import Credentials, ExecCredentials
from roadstead.upstream.dockerauths import DockerAuths, Helper, read_docker_auths
from roadstead.upstream.reread import RereadFile
from roadstead.upstream.serverkeys import ServerKey

# In a directory, the names that a mounted secret and the tools give it.
_NAMES = (".dockerconfigjson", ".dockercfg", "config.json", "auth.json")

# Helpers ask a keychain or a cloud; they know themselves how long their answers last.
_HELPER_LIFETIME_SECONDS = 60.0


class DockerConfigCredentials:
    """The account for one registry in a file of the user's, who may change it at any time.

    The registry's own helper (``credHelpers``) comes first, then the store (``credsStore``),
    then the entry in ``auths`` with the longest key; each is asked if those before it have none.
    The file is looked at again once a second; while it is broken or absent, its last good content
    stays in use.
    """

    def __init__(
        self,
        path: Path,
        server: str,
        *,
        helper_lifetime_seconds: float = _HELPER_LIFETIME_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``server`` is any name of the registry; ``path`` a file, or a directory with one.

        A helper's answer, "none" too, is used for ``helper_lifetime_seconds``.
        """
        self._server = ServerKey.parse(server)
        parse = functools.partial(read_docker_auths, server=self._server)
        self._file: RereadFile[DockerAuths] = RereadFile(path, parse, names=_NAMES, clock=clock)
        self._lifetime = helper_lifetime_seconds
        self._clock = clock
        self._helpers: dict[Helper, ExecCredentials] = {}

    async def get(self, repository: RepositoryName) -> Credentials | None:
        """See CredentialSource.

        Raises:
            UpstreamUnauthorizedError: the file never was readable, or a helper failed.
        """
        try:
            auths = await self._file.content()
        except ValueError as error:
            message = f"the credentials file {error}"
            raise UpstreamUnauthorizedError(message, upstream=self._server.host) from None
        # Those that the file does not name any more are forgotten.
        self._helpers = {helper: self._source(helper) for helper in auths.helpers}
        for source in list(self._helpers.values()):
            found = await source.get(repository)
            if found is not None:
                return found
        return auths.account_for(repository)

    def _source(self, helper: Helper) -> ExecCredentials:
        known = self._helpers.get(helper)
        if known is not None:
            return known
        return ExecCredentials(
            command=helper.program,
            server=helper.server,
            lifetime_seconds=self._lifetime,
            clock=self._clock,
        )
