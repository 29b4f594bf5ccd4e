"""What upstream has: an image index and blobs, as files that nginx serves."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = "library/app"
TAG = "latest"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_PLATFORMS = ("amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "mips64le")


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of the upstream registry."""

    digest: str
    size_bytes: int

    @property
    def path(self) -> str:
        """Where every server has it."""
        return f"/v2/{REPOSITORY}/blobs/{self.digest}"


class Content:
    """A directory of manifests and blobs; blobs are made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        """Make the image index in ``directory``."""
        self.directory = directory
        self.blobs = directory / "blobs"
        self.blobs.mkdir(parents=True)
        self.index = _index()
        self.index_digest = f"sha256:{hashlib.sha256(self.index).hexdigest()}"
        (directory / "index.json").write_bytes(self.index)
        self._made: dict[tuple[int, bool], Blob] = {}

    def manifest_path(self, reference: str) -> str:
        """Return the path of the index, by TAG or by its digest."""
        return f"/v2/{REPOSITORY}/manifests/{reference}"

    def random_blob(self, size_bytes: int) -> Blob:
        """Return the blob of random bytes of that size."""
        return self._blob(size_bytes, sparse=False)

    def sparse_blob(self, size_bytes: int) -> Blob:
        """Return the blob of zeros of that size, which takes no room here."""
        return self._blob(size_bytes, sparse=True)

    def _blob(self, size_bytes: int, *, sparse: bool) -> Blob:
        key = (size_bytes, sparse)
        if key not in self._made:
            file = self.blobs / "new"
            with file.open("wb") as output:
                if sparse:
                    output.truncate(size_bytes)
                else:
                    for start in range(0, size_bytes, MIB):
                        output.write(os.urandom(min(MIB, size_bytes - start)))
            with file.open("rb") as content:
                digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
            file.rename(self.blobs / digest)
            self._made[key] = Blob(digest, size_bytes)
        return self._made[key]


def _index() -> bytes:
    """Return an image index of the size that a build with attestations pushes."""
    manifests = []
    for architecture in _PLATFORMS:
        image = hashlib.sha256(architecture.encode()).hexdigest()
        attestation = hashlib.sha256(image.encode()).hexdigest()
        manifests.append(
            {
                "mediaType": MANIFEST_TYPE,
                "digest": f"sha256:{image}",
                "size": 1234,
                "platform": {"architecture": architecture, "os": "linux"},
            }
        )
        manifests.append(
            {
                "mediaType": MANIFEST_TYPE,
                "digest": f"sha256:{attestation}",
                "size": 567,
                "annotations": {
                    "vnd.docker.reference.digest": f"sha256:{image}",
                    "vnd.docker.reference.type": "attestation-manifest",
                },
                "platform": {"architecture": "unknown", "os": "unknown"},
            }
        )
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
    return json.dumps(document, indent=2).encode()
