"""Media types of manifests and blobs, and the Accept line sent upstream."""

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCTET_STREAM = "application/octet-stream"

INDEXES = frozenset({DOCKER_MANIFEST_LIST, OCI_INDEX})
MANIFESTS = frozenset(
    {DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, *INDEXES}
)

# One fixed list whatever the client accepts, so that what is stored never depends on who
# asked first. Without it several registries convert to schema 1 or answer 404
# (mcr.microsoft.com, quay.io, Azure).
UPSTREAM_ACCEPT = f"{DOCKER_MANIFEST_LIST}, {DOCKER_MANIFEST}, {OCI_INDEX}, {OCI_MANIFEST}, */*"


def essence(content_type: str) -> str:
    """Strip parameters from a Content-Type: ``a/b; charset=utf-8`` is ``a/b``."""
    return content_type.partition(";")[0].strip().lower()
