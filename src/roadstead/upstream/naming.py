"""What clients call a registry, which need not be the host that answers."""

DOCKER_HUB = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)

# Registries that everybody reaches under one name. A mirror of one of these never stands for
# another; a mirror of a private host stands for Docker Hub too, because that is what
# ``registry-mirrors`` and ``?ns=docker.io`` mean where a company runs its own copy of the Hub.
PUBLIC = frozenset(
    {
        "gcr.io",
        "ghcr.io",
        "lscr.io",
        "mcr.microsoft.com",
        "nvcr.io",
        "public.ecr.aws",
        "quay.io",
        "registry.gitlab.com",
        "registry.k8s.io",
    }
)


def is_docker_hub(host: str) -> bool:
    """Say whether ``host`` is Docker Hub, where ``alpine`` means ``library/alpine``."""
    return host in DOCKER_HUB


def namespaces_of(host: str, configured: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the values of ``?ns=`` for which an upstream at ``host`` may answer.

    ``configured`` is ``proxy.namespaces``; without it, the host's own names (see PUBLIC).
    """
    if configured:
        return frozenset({host, *configured})
    if host in PUBLIC:
        return frozenset({host})
    return DOCKER_HUB | {host}
