"""What the held indexes of a repository say about the platforms of their children.

Asked only where an upstream's platforms are limited, and only before a manifest that is not held
is fetched by its digest. A repository is looked through once, then kept up to date.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from cachetools import LRUCache

from roadstead.errors import ManifestInvalidError, PlatformDeniedError
from roadstead.mirror.coalesce import Coalescer
from roadstead.mirror.platforms import PlatformRules
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import Manifest, parse_manifest
from roadstead.oci.platform import Platform
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import Store

# Children of all repositories that are remembered: 47 MB were measured when full.
_KNOWN_CHILDREN = 100_000


@dataclass(slots=True)
class _Children:
    """By child: each index that lists it, and the platform that it names there."""

    said: dict[Digest, tuple[tuple[Digest, Platform | None], ...]] = field(default_factory=dict)
    count: int = 1

    def add(self, index: Digest, manifest: Manifest) -> None:
        for child in manifest.children:
            entries, entry = self.said.get(child.digest, ()), (index, child.platform)
            if entry not in entries:
                self.said[child.digest] = (*entries, entry)
                self.count += 1


class Descriptions:
    """Refuses children that held indexes describe for other platforms only."""

    def __init__(self, *, store: Store, rules: PlatformRules) -> None:
        self._store = store
        self._rules = rules
        self._known: LRUCache[RepositoryName, _Children] = LRUCache(
            _KNOWN_CHILDREN, getsizeof=lambda children: children.count
        )
        self._loading: dict[RepositoryName, _Children] = {}
        self._loads: Coalescer[RepositoryName, _Children] = Coalescer()

    async def refusal(
        self, repository: RepositoryName, digest: Digest
    ) -> PlatformDeniedError | None:
        """Return why a manifest is not fetched; None if nothing speaks against it.

        Raises:
            StorageError: the store failed.
        """
        if not self._rules.is_limited:
            return None
        children = self._known.get(repository)
        if children is None:
            children, _ = await self._loads.run(repository, lambda: self._load(repository))
        held = [
            platform
            for index, platform in children.said.get(digest, ())
            # Looked at again: an index may have been removed meanwhile.
            if await self._store.has_manifest(repository, index)
        ]
        if not held or any(self._rules.admit(platform) for platform in held):
            return None
        return PlatformDeniedError(
            repository, str(digest), platforms=_texts(held), listed=_texts(self._rules.listed)
        )

    def note(self, repository: RepositoryName, digest: Digest, content: bytes) -> None:
        """Take in a manifest that was stored."""
        if not self._rules.is_limited:
            return
        loading, known = self._loading.get(repository), self._known.get(repository)
        manifest = _index(content)
        if manifest is None:
            return
        if loading is not None:
            loading.add(digest, manifest)
        if known is not None:
            known.add(digest, manifest)
            self._keep(repository, known)

    async def aclose(self) -> None:
        """Cancel running looks through repositories."""
        await self._loads.aclose()

    async def _load(self, repository: RepositoryName) -> _Children:
        children = self._loading[repository] = _Children()
        try:
            for digest in await self._store.list_manifests(repository):
                content = await self._store.read_manifest(repository, digest)
                manifest = _index(content) if content is not None else None
                if manifest is not None:
                    children.add(digest, manifest)
                # Reading does not wait, and a repository may hold thousands.
                await asyncio.sleep(0)
        finally:
            del self._loading[repository]
        self._keep(repository, children)
        return children

    def _keep(self, repository: RepositoryName, children: _Children) -> None:
        self._known.pop(repository, None)
        # A repository that is larger than the whole map is looked through each time.
        if children.count <= _KNOWN_CHILDREN:
            self._known[repository] = children


def _index(content: bytes) -> Manifest | None:
    try:
        manifest = parse_manifest(content)
    except ManifestInvalidError:
        return None
    return manifest if manifest.is_index else None


def _texts(platforms: Iterable[Platform | None]) -> list[str]:
    return sorted({str(platform) for platform in platforms if platform is not None})
