"""A process that pulls, or collects, on a shared volume until it is killed; see test_stress.py.

A puller does to the store what a mirror does, in its order: manifest, tag, blobs. It has tags of
its own, in repositories and with images that it shares with all others, and looks after each pull
whether all that its tags point at is whole. What it finds missing it tells, and ends.
"""

import asyncio
import itertools
import json
import sys
from contextlib import closing
from pathlib import Path
from random import Random

from roadstead.maintenance.collection import Collection
from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_MANIFEST
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.filesystem import FilesystemStore

_REPOSITORIES = [RepositoryName(name) for name in ("app", "app/below", "other")]
_IMAGES = 24
_LAYERS = 24
_TAGS = 1


def _blob(number: int) -> bytes:
    return f"layer {number}".encode() * 20


def _layers(image: int) -> list[int]:
    return Random(image).sample(range(_LAYERS), 3)  # noqa: S311 - guards nothing


def _manifest(image: int) -> bytes:
    layers = [{"digest": str(Digest.of(_blob(number)))} for number in _layers(image)]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers, "image": image}
    return json.dumps(document).encode()


class Puller:
    """One client, as the store sees it."""

    def __init__(self, store: FilesystemStore, name: str) -> None:
        self._store = store
        self._random = Random(name)  # noqa: S311 - guards nothing
        self._name = name
        self._tags: dict[tuple[RepositoryName, Tag], int] = {}

    async def run(self) -> None:
        """Pull and look, without end."""
        for count in itertools.count(1):
            await self._pull()
            for (repository, tag), image in self._tags.items():
                missing = await self._missing(repository, tag, image)
                if missing:
                    _tell(f"lost {repository}:{tag} {missing}")
                    return
            _tell(f"pulled {count}")

    async def _pull(self) -> None:
        repository = self._random.choice(_REPOSITORIES)
        tag = Tag(f"{self._name}-{self._random.randrange(_TAGS)}")
        image = self._random.randrange(_IMAGES)
        content = _manifest(image)
        digest = Digest.of(content)
        # Until the tag is written nothing holds what it pointed at before.
        self._tags.pop((repository, tag), None)
        while True:
            await self._store.write_manifest(repository, digest, content)
            if await self._store.write_tag(repository, tag, digest, 1e9):
                break
        for number in _layers(image):
            await self._fetch(repository, _blob(number))
        self._tags[repository, tag] = image

    async def _fetch(self, repository: RepositoryName, content: bytes) -> None:
        digest = Digest.of(content)
        if await self._store.stat_blob(repository, digest) is not None:
            return
        if await self._store.link_blob(repository, digest):
            return
        with closing(self._store.partial_blob(digest)) as partial:
            partial.write(content[partial.offset :])
            partial.commit(frozenset({repository}))

    async def _missing(self, repository: RepositoryName, tag: Tag, image: int) -> str:
        content = _manifest(image)
        held = await self._store.resolve_tag(repository, tag)
        if held is None or held.digest != Digest.of(content):
            return "tag"
        if await self._store.read_manifest(repository, held.digest) != content:
            return "manifest"
        for number in _layers(image):
            blob = _blob(number)
            if await self._store.stat_blob(repository, Digest.of(blob)) != len(blob):
                return f"layer {number}"
        return ""


def collect(store: FilesystemStore) -> None:
    """Collect without end and without mercy: no grace, and everything that tags have left."""
    while True:
        collected = Collection(
            store, say=lambda _line: None, delete_untagged=True, grace_seconds=0, sleep=_at_once
        ).run()
        swept = collected.swept
        _tell(f"collected {swept.manifests} {swept.layer_links} {swept.blobs} {swept.spared}")


def _at_once(_seconds: float) -> None:
    """Do not pause."""


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _, _task, _root = sys.argv
    _store = FilesystemStore(Path(_root))
    if _task == "collect":
        collect(_store)
    else:
        asyncio.run(Puller(_store, _task).run())
