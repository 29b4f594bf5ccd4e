"""Where everything lies below the root: distribution's layout, and ours beside it.

Pure: no function here touches the disk. Source of the paths under ``docker/registry/v2``:
facts/registry.md, section 2. What Roadstead alone needs is under ``roadstead/``, which the
stock registry never looks at.

The arguments are typed and have passed their grammar, so that no path leads out of the root:
no component of a repository name and no tag starts with a dot, and none of a name with an
underscore, which marks the layout's own directories.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag

LAYERS = "_layers"
MANIFESTS = "_manifests"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below ``root``, the value of ``storage.filesystem.rootdirectory``."""

    root: Path

    @property
    def repositories(self) -> Path:
        """Directory of all repositories."""
        return Path(f"{self.root}/docker/registry/v2/repositories")

    @property
    def blobs(self) -> Path:
        """Directory of all data: one directory for each algorithm, in it one for each prefix."""
        return Path(f"{self.root}/docker/registry/v2/blobs")

    @property
    def schedule(self) -> Path:
        """File in which the stock registry in proxy mode keeps when what it pulled expires."""
        return Path(f"{self.root}/scheduler-state.json")

    @property
    def metadata(self) -> Path:
        """File of the metadata database; what else it needs has the same name and another end."""
        return Path(f"{self.root}/roadstead/metadata.sqlite")

    @property
    def metadata_log(self) -> Path:
        """File of what the metadata database has not yet taken in; SQLite names it."""
        return Path(f"{self.metadata}-wal")

    def blob(self, digest: Digest) -> Path:
        """File with the bytes of a layer, a config or a manifest."""
        return _blob(self.root, digest)

    def repository(self, repository: RepositoryName) -> Path:
        """Directory of one repository; other repositories may lie in it."""
        return Path(f"{self.root}/docker/registry/v2/repositories/{repository}")

    def layers(self, repository: RepositoryName) -> Path:
        """Directory of a repository's layers, one directory for each algorithm."""
        return self.repository(repository) / LAYERS

    def layer_link(self, repository: RepositoryName, digest: Digest) -> Path:
        """Link that makes a layer or config visible in a repository."""
        return self.layers(repository) / f"{digest.algorithm}/{digest.encoded}/link"

    def revision_link(self, repository: RepositoryName, digest: Digest) -> Path:
        """Link that makes a manifest visible in a repository."""
        return self.revisions(repository) / f"{digest.algorithm}/{digest.encoded}/link"

    def revisions(self, repository: RepositoryName) -> Path:
        """Directory of a repository's manifests, one directory for each algorithm."""
        return self.repository(repository) / f"{MANIFESTS}/revisions"

    def tags(self, repository: RepositoryName) -> Path:
        """Directory of a repository's tags, each a directory."""
        return self.repository(repository) / f"{MANIFESTS}/tags"

    def tag_current_link(self, repository: RepositoryName, tag: Tag) -> Path:
        """Link to what a tag points at."""
        return self.tags(repository) / f"{tag}/current/link"

    def tag_index_link(self, repository: RepositoryName, tag: Tag, digest: Digest) -> Path:
        """Link that records that a tag points, or once pointed, at ``digest``."""
        return self.tag_index(repository, tag) / f"{digest.algorithm}/{digest.encoded}/link"

    def tag_index(self, repository: RepositoryName, tag: Tag) -> Path:
        """Directory of the links to all that a tag points, or once pointed, at."""
        return self.tags(repository) / f"{tag}/index"

    @property
    def own(self) -> Path:
        """Directory of all that distribution does not know."""
        return Path(f"{self.root}/roadstead")

    @property
    def verification(self) -> Path:
        """File that says how far the verification in the background is."""
        return self.own / "verification.json"

    @property
    def quarantine(self) -> Path:
        """Directory of damaged data."""
        return self.own / "quarantine"

    @property
    def platforms(self) -> Path:
        """List of the platforms that clients have asked for."""
        return self.own / "platforms"

    @property
    def partials(self) -> Path:
        """Directory of all partial blobs; one directory in it for each boot."""
        return self.own / "partial"

    def partial(self, boot_id: str, digest: Digest) -> Path:
        """File in which a blob arrives."""
        return self.partials / f"{boot_id}/{digest.algorithm}/{digest.encoded}"

    @property
    def write_probe(self) -> Path:
        """File that is written to find out whether the store can be written."""
        return Path(f"{self.root}/roadstead/probe")

    def referrers(self, repository: RepositoryName, subject: Digest) -> Path:
        """Kept list of the referrers of ``subject``.

        The underscore keeps it apart from a repository below this one.
        """
        directory = Path(f"{self.root}/roadstead/referrers/{repository}/_subjects")
        return directory / f"{subject.algorithm}/{subject.encoded}.json"


@lru_cache(maxsize=4096)
def _blob(root: Path, digest: Digest) -> Path:
    # The same ones are opened again and again, and a Path takes as long to make as the opening.
    hexadecimal = digest.encoded
    return Path(
        f"{root}/docker/registry/v2/blobs/{digest.algorithm}/{hexadecimal[:2]}/{hexadecimal}/data"
    )
