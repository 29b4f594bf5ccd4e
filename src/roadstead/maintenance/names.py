"""How images are called: by stored name inside, by full name towards people and in patterns.

A repository of the default upstream is stored without its upstream's name, and one of
``host:5000`` with an underscore for the colon (see runtime.plan).
"""

from collections.abc import Iterable, Sequence

from roadstead.errors import InvalidReferenceError
from roadstead.metadata.records import EvictionCandidate, Scope
from roadstead.mirror.routing import RouteRules
from roadstead.oci.imagepattern import ImagePattern
from roadstead.oci.reference import RepositoryName


class ImageNames:
    """Knows all upstreams by their names and by where their repositories are stored."""

    def __init__(self, upstreams: Iterable[RouteRules], *, default: str) -> None:
        """``default`` names the upstream that short names mean."""
        self._rules = {rules.name: rules for rules in upstreams}
        self._default = self._rules[default]
        self._by_alias: dict[str, RouteRules] = dict(self._rules)
        for rules in self._rules.values():
            for alias in sorted(rules.names):
                self._by_alias.setdefault(alias, rules)
        self._prefixes = {
            rules.store_prefix: rules for rules in self._rules.values() if rules.store_prefix
        }

    @property
    def upstreams(self) -> Sequence[str]:
        """All upstreams, by configured name."""
        return tuple(self._rules)

    @property
    def default(self) -> str:
        """The upstream that short names mean."""
        return self._default.name

    def upstream(self, repository: RepositoryName) -> str:
        """Return the upstream of a stored repository."""
        return self._rules_of(repository).name

    def scope(self, upstream: str) -> Scope:
        """Return which stored repositories belong to an upstream."""
        prefix = self._rules[upstream].store_prefix
        if prefix:
            return Scope(prefix)
        return Scope(without=tuple(sorted(self._prefixes)))

    def full(self, repository: RepositoryName) -> str:
        """Write a stored repository in full: ``docker.io/library/alpine``."""
        rules = self._rules_of(repository)
        return f"{rules.name}/{repository.removeprefix(rules.store_prefix)}"

    def stored(self, full: str) -> RepositoryName | None:
        """Return the stored name behind a full one; None if it has wildcards."""
        if "*" in full or "?" in full:
            return None
        name, _, rest = full.partition("/")
        return RepositoryName(f"{self._rules[name].store_prefix}{rest}")

    def pattern(self, text: str) -> ImagePattern:
        """Read a pattern as people write it; short names mean what they mean to docker.

        ``alpine:3.*`` is ``docker.io/library/alpine:3.*`` where Docker Hub is the default, and
        aliases become the configured name. ``**`` is everything.

        Raises:
            InvalidReferenceError: the text is no pattern, or names an upstream that there is not.
        """
        pattern = ImagePattern.parse(text)
        first, slash, rest = pattern.name.partition("/")
        if first.startswith("**"):
            return pattern
        rules = self._by_alias.get(first) if slash else None
        if rules is None and slash and ("." in first or ":" in first or first == "localhost"):
            if "*" in first or "?" in first:
                return pattern
            part = "upstream"
            raise InvalidReferenceError(part, first)
        if rules is None:
            rules, rest = self._default, pattern.name
        if rules.adds_library and "/" not in rest and not rest.startswith("**"):
            rest = f"library/{rest}"
        return ImagePattern(f"{rules.name}/{rest}", pattern.tag, pattern.digest)

    def image(self, image: EvictionCandidate) -> str:
        """Write an image as people call it: by its first tag, or by its digest."""
        name = self.full(image.repository)
        return f"{name}:{image.tags[0]}" if image.tags else f"{name}@{image.digest}"

    def _rules_of(self, repository: RepositoryName) -> RouteRules:
        first, slash, _ = repository.partition("/")
        return self._prefixes.get(f"{first}{slash}", self._default)
