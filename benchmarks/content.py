"""What upstream has: an image index and blobs, as files that nginx serves."""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = "library/app"
TAG = "latest"
IMAGE_TAG = "image"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
# MiB of each layer of the image that a real client pulls.
_LAYERS = (64, 24, 12, 6, 3, 1)

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


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Files of a certificate for this machine that signs itself."""

    certificate: Path
    key: Path


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

    def image(self) -> tuple[Path, str]:
        """Return the file of an image's manifest and its digest: six layers, 110 MiB."""
        file = self.directory / "image.json"
        if not file.exists():
            config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
            layers = [self.random_blob(size * MIB) for size in _LAYERS]
            document = {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _descriptor(_CONFIG_TYPE, self._written(config)),
                "layers": [_descriptor(_LAYER_TYPE, layer) for layer in layers],
            }
            file.write_text(json.dumps(document), encoding="utf-8")
        return file, f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"

    def _written(self, content: bytes) -> Blob:
        blob = Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        (self.blobs / blob.digest).write_bytes(content)
        return blob

    @property
    def certificate(self) -> KeyPair:
        """What servers show that speak TLS; made when it is first asked for."""
        pair = KeyPair(self.directory / "certificate.pem", self.directory / "key.pem")
        if not pair.certificate.exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=bench"]
            command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "30"]
            command += ["-keyout", str(pair.key), "-out", str(pair.certificate)]
            subprocess.run(command, check=True, capture_output=True)
        return pair

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


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}


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
