"""What is held of an image, and what of it can leave as a whole.

An index leaves verbatim; the layout may lack children of it (image-spec, image-layout.md). A
child leaves whole or not at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from roadstead.errors import ImageLayoutError, ManifestInvalidError
from roadstead.maintenance.layouts.names import NamedImage
from roadstead.mirror.platforms import PlatformRules
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.imagelayout import LayoutEntry
from roadstead.oci.manifest import Manifest, parse_manifest
from roadstead.oci.platform import Platform
from roadstead.oci.reference import RepositoryName, Tag, referrers_tag
from roadstead.storage.base import Store

# cosign's names for what belongs to an image, behind the name of the fallback tag.
_COMPANIONS = ("", ".sig", ".att", ".sbom")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A child of an index that stays behind."""

    digest: Digest
    platform: Platform | None
    reason: str

    def __str__(self) -> str:
        is_named = self.platform is not None and self.platform.is_known
        return f"{self.platform if is_named else self.digest} is left out: {self.reason}"


@dataclass(slots=True)
class Selection:
    """All that leaves for one image; ``blobs`` are sizes in bytes, of layers and configs."""

    entries: list[LayoutEntry] = field(default_factory=list)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Size of everything together."""
        return sum(self.blobs.values()) + sum(map(len, self.manifests.values()))


def is_foreign(blob: Descriptor) -> bool:
    """Say whether a layer is fetched from elsewhere, by its URLs: base layers of Windows."""
    return "foreign" in blob.media_type or "nondistributable" in blob.media_type


class Selector:
    """Looks into a store for images of certain platforms; none named means all."""

    def __init__(self, store: Store, platforms: Sequence[Platform] = ()) -> None:
        self._store = store
        self._platforms = tuple(platforms)
        self._rules = PlatformRules(self._platforms)

    async def select(self, image: NamedImage) -> Selection:
        """Return an image with what refers to it: signatures, SBOMs.

        Raises:
            ImageLayoutError: it is not held, or nothing of it is whole.
            StorageError: the store failed.
        """
        digest, confirmed_at = await self._resolve(image)
        selection = Selection()
        why_not = await self._take(selection, image.repository, digest)
        if why_not:
            message = f"{image.name} cannot be exported: {why_not}"
            raise ImageLayoutError(message)
        content = selection.manifests[digest]
        descriptor = Descriptor(parse_manifest(content).media_type, digest, len(content))
        selection.entries.append(LayoutEntry(descriptor, image.name, confirmed_at))
        await self._take_referrers(selection, image)
        return selection

    async def _resolve(self, image: NamedImage) -> tuple[Digest, float | None]:
        if isinstance(image.reference, Digest):
            return image.reference, None
        held = await self._store.resolve_tag(image.repository, image.reference)
        if held is None:
            message = f"{image.name} is not held"
            raise ImageLayoutError(message)
        return held.digest, held.confirmed_at

    async def _take(
        self, selection: Selection, repository: RepositoryName, digest: Digest
    ) -> str | None:
        """Add a manifest with all below it; or return why that cannot be, and add nothing."""
        if digest in selection.manifests:
            return None
        content = await self._store.read_manifest(repository, digest)
        if content is None:
            return "its manifest is not held"
        try:
            manifest = parse_manifest(content)
        except ManifestInvalidError as error:
            return str(error)
        if manifest.children:
            why_not = await self._take_children(selection, repository, manifest)
        else:
            why_not = await self._take_blobs(selection, repository, manifest.blobs)
        if why_not is None:
            # Behind what it needs, in the order in which it can be imported.
            selection.manifests[digest] = content
        return why_not

    async def _take_blobs(
        self, selection: Selection, repository: RepositoryName, blobs: Iterable[Descriptor]
    ) -> str | None:
        found: dict[Digest, int] = {}
        missing = wanted = 0
        for blob in blobs:
            size = await self._size(repository, blob.digest)
            if size is not None:
                found[blob.digest] = size
            elif not is_foreign(blob):
                missing += 1
            wanted += 1
        if missing:
            return f"{missing} of its {wanted} blobs are not held"
        selection.blobs |= found
        return None

    async def _size(self, repository: RepositoryName, digest: Digest) -> int | None:
        size = await self._store.stat_blob(repository, digest)
        # Linked or not, it is what a manifest of this repository needs.
        return size if size is not None else await self._store.stat_data(digest)

    async def _take_children(
        self, selection: Selection, repository: RepositoryName, index: Manifest
    ) -> str | None:
        taken: list[Descriptor] = []
        for child in self._rules.wanted(index.children):
            why_not = await self._take(selection, repository, child.digest)
            if why_not is None:
                taken.append(child)
            else:
                selection.left_out.append(LeftOut(child.digest, child.platform, why_not))
        for platform in self._platforms:
            if not any(_is_for(platform, child.platform) for child in taken):
                return f"nothing for {platform} is held whole"
        if not any(child.platform is None or child.platform.is_known for child in taken):
            return "for no platform is everything held"
        return None

    async def _take_referrers(self, selection: Selection, image: NamedImage) -> None:
        """Add held manifests that refer to what is selected, by subject or by cosign's tags."""
        repository = image.repository
        for digest in await self._store.list_manifests(repository):
            content = await self._store.read_manifest(repository, digest)
            manifest = _parse(content)
            if manifest is None or manifest.subject is None or digest in selection.manifests:
                continue
            if manifest.subject.digest in selection.manifests:
                await self._add(selection, image, digest, None)
        for subject in tuple(selection.manifests):
            for suffix in _COMPANIONS:
                tag = Tag(f"{referrers_tag(subject)}{suffix}")
                held = await self._store.resolve_tag(repository, tag)
                if held is not None:
                    await self._add(selection, image, held.digest, (tag, held.confirmed_at))

    async def _add(
        self,
        selection: Selection,
        image: NamedImage,
        digest: Digest,
        by_tag: tuple[Tag, float] | None,
    ) -> None:
        """Add what belongs to an image, if it is whole, under its tag or digest."""
        if await self._take(selection, image.repository, digest) is not None:
            return
        content = selection.manifests[digest]
        descriptor = Descriptor(parse_manifest(content).media_type, digest, len(content))
        name, confirmed_at = by_tag or (digest, None)
        selection.entries.append(LayoutEntry(descriptor, image.named(name), confirmed_at))


def _is_for(wanted: Platform, platform: Platform | None) -> bool:
    """Say whether a child may be meant; one that names no platform may be for any."""
    return platform is None or wanted.runs(platform)


def _parse(content: bytes | None) -> Manifest | None:
    try:
        return None if content is None else parse_manifest(content)
    except ManifestInvalidError:
        return None
