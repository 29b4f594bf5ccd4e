"""What clients call a registry, which need not be the host that answers."""

DOCKER_HUB = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)

WELL_KNOWN = {
    "docker.io": "https://registry-1.docker.io",
    "ghcr.io": "https://ghcr.io",
    "quay.io": "https://quay.io",
    "registry.k8s.io": "https://registry.k8s.io",
    "gcr.io": "https://gcr.io",
    "mcr.microsoft.com": "https://mcr.microsoft.com",
    "public.ecr.aws": "https://public.ecr.aws",
    "registry.gitlab.com": "https://registry.gitlab.com",
    "nvcr.io": "https://nvcr.io",
    "lscr.io": "https://lscr.io",
}
"""Registries that everybody reaches under one name, by that name."""

# Token servers on another domain than the registry that sends people there (protocol facts, 3).
WELL_KNOWN_REALMS = {"lscr.io": frozenset({"ghcr.io"})}


def is_docker_hub(host: str) -> bool:
    """Say whether ``host`` is Docker Hub, where ``alpine`` means ``library/alpine``."""
    return host in DOCKER_HUB


def namespace_at(host: str, *, name: str, origin: str) -> str | None:
    """Return what to send as ``?ns=`` to ``host``: the registry that it is asked for.

    None where it is that registry itself. ``name`` is the upstream's name; one that is no host
    name says nothing, and the registry is the one at ``origin``, the host of its remoteurl.
    """
    registry = name if "." in name or ":" in name else origin
    if is_docker_hub(registry):
        return None if is_docker_hub(host) else "docker.io"
    return None if host == registry else registry


def names_of(host: str, aliases: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the names for which a default upstream at ``host`` may answer.

    With ``aliases`` exactly those and its host. Without, a well-known registry stands for
    itself only, while a private host stands for Docker Hub too: that is what
    ``registry-mirrors`` and ``?ns=docker.io`` mean where a company runs a copy of the Hub.
    """
    if aliases:
        return frozenset({host, *aliases})
    if host in WELL_KNOWN and not is_docker_hub(host):
        return frozenset({host})
    return DOCKER_HUB | {host}
