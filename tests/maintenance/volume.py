"""Volumes to collect garbage on, made piece by piece, all of it old unless said otherwise."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from roadstead.maintenance.collection import Collected, Collection
from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.support.volumes import files_below, put

APP = RepositoryName("library/app")
NOW = 1_700_000_000.0
LONG_AGO = NOW - 30 * 86400
JUST_NOW = NOW - 60


class Volume:
    """A volume, and the short ways to fill it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = FilesystemStore(root)
        self.layout = Layout(root)
        self.said: list[str] = []

    def blob(self, text: str, *repositories: RepositoryName, at: float = LONG_AGO) -> Digest:
        """Hold a blob, linked into ``repositories``."""
        digest = self._data(text.encode())
        for repository in repositories:
            self._link(self.layout.layer_link(repository, digest), digest, at)
        return digest

    def image(
        self,
        *layers: str,
        name: RepositoryName = APP,
        at: float = LONG_AGO,
        subject: Digest | None = None,
    ) -> Digest:
        """Hold an image with its layers."""
        digests = [self.blob(layer, name) for layer in layers]
        document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "layers": [descriptor(digest) for digest in digests],
        }
        if subject is not None:
            document["subject"] = descriptor(subject)
        return self.manifest(document, name=name, at=at)

    def index(
        self,
        children: Iterable[Digest],
        *,
        name: RepositoryName = APP,
        at: float = LONG_AGO,
        note: str = "",
    ) -> Digest:
        """Hold an index of these manifests; ``note`` makes it another one."""
        document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(child) for child in children],
            "annotations": {"note": note},
        }
        return self.manifest(document, name=name, at=at)

    def manifest(
        self, document: dict[str, object], *, name: RepositoryName = APP, at: float = LONG_AGO
    ) -> Digest:
        """Hold a manifest of any kind."""
        digest = self._data(json.dumps(document).encode())
        self._link(self.layout.revision_link(name, digest), digest, at)
        return digest

    def tag(
        self, tag: str, *digests: Digest, name: RepositoryName = APP, at: float = LONG_AGO
    ) -> None:
        """Point a tag at one manifest after the other."""
        for digest in digests:
            self._link(self.layout.tag_index_link(name, Tag(tag), digest), digest, at)
            self._link(self.layout.tag_current_link(name, Tag(tag)), digest, at)

    def _data(self, content: bytes) -> Digest:
        # Not through the store, which syncs: that takes most of the time of such a test.
        digest = Digest.of(content)
        put(self.layout.blob(digest), content)
        return digest

    def _link(self, path: Path, digest: Digest, at: float) -> None:
        os.utime(put(path, str(digest).encode()), (at, at))

    def collect(self, *, dry_run: bool = False, delete_untagged: bool = False) -> Collected:
        """Collect garbage, at ``NOW``; the lines are in ``said``."""
        self.said.clear()
        collection = Collection(
            self.store,
            say=self.said.append,
            delete_untagged=delete_untagged,
            clock=lambda: NOW,
            sleep=lambda _seconds: None,
        )
        return collection.run(dry_run=dry_run)

    def files(self) -> set[str]:
        """Return the paths of all that is in the layout."""
        return set(files_below(self.root / "docker"))

    def revisions(self, name: RepositoryName = APP) -> set[Digest]:
        """Return the manifests that a repository holds."""
        return {link.digest for link in self.store.walk.revisions(name)}

    def layers(self, name: RepositoryName = APP) -> set[Digest]:
        """Return the layers that a repository links to."""
        return {link.digest for link in self.store.walk.layers(name)}

    def data(self) -> set[Digest]:
        """Return all data that is held."""
        return {data.digest for data in self.store.walk.data()}


def descriptor(digest: Digest) -> dict[str, object]:
    """Point at content; nobody looks at the size."""
    return {"mediaType": "application/octet-stream", "digest": str(digest), "size": 1}


def digests(*texts: str) -> set[Digest]:
    """Return the digests of blobs with these texts."""
    return {Digest.of(text.encode()) for text in texts}


def lines(said: Sequence[str], beginning: str) -> list[str]:
    """Return the lines that begin so."""
    return [line for line in said if line.startswith(beginning)]
