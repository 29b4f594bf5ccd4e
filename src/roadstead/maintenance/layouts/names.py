"""Names of images as users write them, and where the store has what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass

from roadstead.errors import ImageLayoutError
from roadstead.mirror.explain import split_reference
from roadstead.mirror.routing import Hints, Router
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image: its stored repository, its tag or digest, and its repository's full name."""

    repository: RepositoryName
    reference: Reference
    full_repository: str

    @property
    def name(self) -> str:
        """Its full name, which means the same to every mirror."""
        return self.named(self.reference)

    def named(self, reference: Reference) -> str:
        """Write the full name of another image of the repository."""
        separator = "@" if isinstance(reference, Digest) else ":"
        return f"{self.full_repository}{separator}{reference}"


class ImageNamer:
    """Understands names by the rules that requests are routed by."""

    def __init__(self, router: Router, registries: Mapping[str, str]) -> None:
        """``registries`` says what people call each upstream of ``router``, by configured name."""
        self._router = router
        self._registries = registries

    def find(self, text: str) -> NamedImage:
        """Return what ``text`` means to somebody who uses this mirror, as docker reads it.

        Raises:
            InvalidReferenceError: it is no reference.
            NamespaceUnknownError: no upstream is configured for its registry.
            RepositoryDeniedError: the configuration does not let it through.
        """
        namespace, repository, reference = split_reference(text)
        destination = self._router.route(repository, Hints(namespace=namespace))
        host = self._registries[destination.upstream]
        return NamedImage(destination.repository, reference, f"{host}/{destination.own_name}")

    def full(self, repository: RepositoryName) -> str:
        """Return the full name of a stored repository."""
        upstream, own_name = self._router.owner(repository)
        return f"{self._registries[upstream]}/{own_name}"

    def find_full(self, text: str) -> NamedImage:
        """Return what a name in a layout means, which says its registry.

        Raises:
            ImageLayoutError: it does not.
            InvalidReferenceError, NamespaceUnknownError, RepositoryDeniedError: as ``find``.
        """
        if "/" not in text or split_reference(text)[0] is None:
            message = f"{text!r} does not say which registry it is of"
            raise ImageLayoutError(message)
        return self.find(text)
