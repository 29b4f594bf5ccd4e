"""The repositories of a scripted registry: what is on the shelf, to be changed at any time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from roadstead.oci import mediatype
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.simulator.content import (
    BytesContent,
    Content,
    SimulatedBlob,
    SimulatedImage,
    SimulatedIndex,
    build_image,
    build_index,
    descriptor_document,
    digest_of,
)


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """The bytes of a manifest and the type they were pushed with."""

    content: bytes
    media_type: str


@dataclass(slots=True)
class Repository:
    """One repository: manifests and blobs by digest, tags by name."""

    manifests: dict[str, StoredManifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, Content] = field(default_factory=dict)

    def find_manifest(self, reference: str) -> StoredManifest | None:
        """Look a manifest up by tag or digest."""
        return self.manifests.get(self.tags.get(reference, reference))


class Shelf:
    """All repositories, with what is needed to fill and to change them."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}

    def add_image(
        self,
        repository: str,
        *,
        tag: str | None = None,
        layers: Sequence[bytes | Content] = (b"first layer", b"second layer"),
        platform: str = "linux/amd64",
        media_type: str = mediatype.OCI_MANIFEST,
        subject: Descriptor | None = None,
        fields: dict[str, Any] | None = None,
    ) -> SimulatedImage:
        """Push an image: its layers, its config, its manifest.

        ``subject`` makes it a referrer; ``fields`` are further members of the manifest
        (``artifactType``, ``annotations``).
        """
        document = dict(fields or {})
        if subject is not None:
            document["subject"] = descriptor_document(subject)
        contents = [BytesContent(item) if isinstance(item, bytes) else item for item in layers]
        image = build_image(contents, platform=platform, media_type=media_type, fields=document)
        for blob in image.blobs:
            self._repository(repository).blobs[str(blob.digest)] = blob.content
        self.add_manifest(repository, image.content, media_type, tag=tag)
        return image

    def add_index(
        self,
        repository: str,
        *,
        images: Sequence[SimulatedImage] | None = None,
        tag: str | None = None,
        platforms: Sequence[str] = ("linux/amd64", "linux/arm64"),
        media_type: str = mediatype.OCI_INDEX,
    ) -> SimulatedIndex:
        """Push an index of ``images``; without any, of one small image per platform."""
        if images is None:
            images = [
                self.add_image(
                    repository, platform=platform, layers=[f"layer of {platform}".encode()]
                )
                for platform in platforms
            ]
        index = build_index(images, media_type=media_type)
        self.add_manifest(repository, index.content, media_type, tag=tag)
        return index

    def add_blob(self, repository: str, content: bytes | Content) -> SimulatedBlob:
        """Push a blob that no manifest speaks of."""
        body = BytesContent(content) if isinstance(content, bytes) else content
        digest = digest_of(body)
        self._repository(repository).blobs[str(digest)] = body
        return SimulatedBlob(Descriptor(mediatype.OCTET_STREAM, digest, body.size_bytes), body)

    def add_manifest(
        self, repository: str, content: bytes, media_type: str, *, tag: str | None = None
    ) -> Digest:
        """Push a manifest as it stands, whatever it is."""
        digest = Digest.of(content)
        self._repository(repository).manifests[str(digest)] = StoredManifest(content, media_type)
        if tag is not None:
            self.move_tag(repository, tag, digest)
        return digest

    def move_tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag at a manifest, which need not exist."""
        self._repository(repository).tags[tag] = str(digest)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Remove a tag; its manifest stays."""
        del self.repositories[repository].tags[tag]

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Remove a manifest; tags keep pointing at it."""
        del self.repositories[repository].manifests[str(digest)]

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Remove a blob."""
        del self.repositories[repository].blobs[str(digest)]

    def referrers(self, repository: Repository, subject: str) -> list[dict[str, Any]]:
        """Describe every manifest whose subject is ``subject``, as the referrers API does."""
        found = []
        for digest, manifest in repository.manifests.items():
            document = json.loads(manifest.content)
            if document.get("subject", {}).get("digest") != subject:
                continue
            config_type = document.get("config", {}).get("mediaType")
            size = len(manifest.content)
            entry = {"mediaType": manifest.media_type, "digest": digest, "size": size}
            entry["artifactType"] = document.get("artifactType", config_type)
            entry["annotations"] = document.get("annotations", {})
            found.append(entry)
        return found

    def _repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())
