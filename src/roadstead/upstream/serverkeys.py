"""The names under which credential files keep a registry's account.

A host, sometimes with a scheme or the path of the API (``https://index.docker.io/v1/``), as
``docker login`` wrote them over the years; ``host/namespace/repository`` in containers' auth.json
(containers-auth.json(5)); ``*`` in labels of the host in Kubernetes' pull secrets.
"""

import re
from dataclasses import dataclass

from roadstead.upstream.naming import is_docker_hub

_HUB = "docker.io"
_API_PATH = re.compile(r"v[12](?:/.*)?")

# What Docker itself asks a credential store for.
_HUB_IN_STORES = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class ServerKey:
    """A host, and the beginning of the repositories that it is for (empty: all)."""

    host: str
    prefix: str = ""

    @staticmethod
    def parse(text: str) -> "ServerKey":
        """Read a key as it stands in a file; all names of Docker Hub become one."""
        scheme, separator, rest = text.strip().partition("://")
        if not separator:
            scheme, rest = "https", scheme
        authority, _, path = rest.partition("/")
        host = authority.rpartition("@")[2].lower()
        host = host.removesuffix(":80" if scheme.lower() == "http" else ":443").rstrip(".")
        path = path.strip("/")
        return ServerKey(
            _HUB if is_docker_hub(host) else host, "" if _API_PATH.fullmatch(path) else path
        )

    @property
    def in_stores(self) -> str:
        """The name by which a credential store knows this host."""
        return _HUB_IN_STORES if self.host == _HUB else self.host

    @property
    def rank(self) -> tuple[int, bool]:
        """Of two keys that cover a repository, the one of the higher rank is meant."""
        return len(self.prefix), "*" not in self.host

    def covers_host(self, host: str) -> bool:
        """Say whether this key is for ``host``, or for some of its repositories."""
        if "*" not in self.host:
            return self.host == host
        pattern = r"[^.:/]*".join(map(re.escape, self.host.split("*")))
        return re.fullmatch(pattern, host) is not None

    def covers_repository(self, repository: str) -> bool:
        """Say whether a repository of the host is within this key's prefix."""
        return not self.prefix or f"{repository}/".startswith(f"{self.prefix}/")
