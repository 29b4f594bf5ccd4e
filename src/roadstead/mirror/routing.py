"""Which upstream a request means: pure rules over names.

In this order (the first that says something wins): a name in front of ``/v2/``; the first
component of the repository, if it is an upstream's name; ``?ns=``; the listener's own upstream;
the Host header; the default upstream. Only configured upstreams can be meant: what names
another one is refused, never dialled, and never answered from the wrong place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

from roadstead.errors import (
    NamespaceConflictError,
    NamespaceUnknownError,
    RepositoryDeniedError,
    RepositoryUnknownError,
)
from roadstead.oci.reference import RepositoryName


@dataclass(frozen=True, slots=True)
class RouteRules:
    """What is needed to recognise one upstream and to name its repositories.

    ``name`` is the name in the configuration; ``names`` all by which clients may call it, its
    own among them. ``store_prefix`` stands in front of its repositories in the store: empty for
    the default upstream, so that a volume of registry:2 is one of Roadstead's. ``adds_library``:
    one-component names mean ``library/<name>``, as on Docker Hub. ``allow`` and ``deny`` are
    patterns over upstream's own repository names.
    """

    name: str
    names: frozenset[str]
    store_prefix: str = ""
    hosts: frozenset[str] = frozenset()
    adds_library: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hints:
    """What a request says about its upstream beside the repository's name.

    ``prefix`` stood in front of ``/v2/``; ``listener`` is the upstream of the listener that the
    request came in by; ``host`` is the Host header, with or without a port.
    """

    prefix: str | None = None
    namespace: str | None = None
    listener: str | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes: the upstream's configured name and the repository's stored name.

    ``by`` says what decided: prefix, path, ns, listener, host or default. ``own_name`` is
    upstream's own name for the repository. ``heeds_namespace`` says that the request's ``ns``
    named this upstream, alone or beside the path.
    """

    upstream: str
    repository: RepositoryName
    by: str
    own_name: str
    heeds_namespace: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    rules: RouteRules
    allow: re.Pattern[str] | None
    deny: re.Pattern[str] | None

    def admits(self, repository: str) -> bool:
        if self.deny is not None and self.deny.fullmatch(repository):
            return False
        return self.allow is None or self.allow.fullmatch(repository) is not None


@dataclass(slots=True)
class Router:
    """Knows all upstreams by all their names."""

    upstreams: Iterable[RouteRules]
    default: str
    _by_name: dict[str, _Rule] = field(default_factory=dict)
    _by_host: dict[str, _Rule] = field(default_factory=dict)
    _by_prefix: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the upstreams: their own names first, then whoever claims another one first."""
        every = [_Rule(one, any_of(one.allow), any_of(one.deny)) for one in self.upstreams]
        self._by_name = {rule.rules.name: rule for rule in every}
        prefixes = {one.rules.store_prefix: one.rules.name for one in every}
        self._by_prefix = {prefix: name for prefix, name in prefixes.items() if prefix}
        for rule in every:
            for name in sorted(rule.rules.names):
                self._by_name.setdefault(name, rule)
            for host in rule.rules.hosts:
                self._by_host.setdefault(host, rule)

    def knows(self, name: str) -> bool:
        """Say whether an upstream goes by this name."""
        return name in self._by_name

    def route(self, repository: RepositoryName, hints: Hints) -> Destination:
        """Find the upstream of a repository as the client named it.

        Raises:
            NamespaceUnknownError: ``?ns=`` or the prefix names no upstream of ours.
            NamespaceConflictError: path and ``?ns=`` name two different ones.
            RepositoryUnknownError: nothing is left behind the upstream's name.
            RepositoryDeniedError: the upstream's rules do not let this repository through.
        """
        rule, rest, by = self._choose(repository, hints)
        rules = rule.rules
        if not rest:
            raise RepositoryUnknownError(repository)
        if rules.adds_library and "/" not in rest:
            rest = f"library/{rest}"
        if not rule.admits(rest):
            raise RepositoryDeniedError(rest, rules.name)
        stored = RepositoryName(f"{rules.store_prefix}{rest}")
        heeds = self._by_name.get(hints.namespace or "") is rule
        return Destination(rules.name, stored, by, rest, heeds_namespace=heeds)

    def owner(self, stored: RepositoryName) -> tuple[str, str]:
        """Return the upstream that a stored name belongs to, and upstream's own name for it."""
        first, slash, rest = stored.partition("/")
        name = self._by_prefix.get(f"{first}{slash}")
        return (self.default, stored) if name is None else (name, rest)

    def _choose(self, repository: str, hints: Hints) -> tuple[_Rule, str, str]:
        """Return the upstream, what is left of the repository's name, and what decided."""
        first, _, rest = repository.partition("/")
        in_path = self._by_name.get(first)
        by_namespace = self._by_name.get(hints.namespace or "")
        if hints.prefix is not None:
            rule = self._named(hints.prefix)
            if by_namespace not in (None, rule):
                raise NamespaceConflictError(hints.prefix, hints.namespace or "")
            return rule, rest if in_path is rule else repository, "prefix"
        if in_path is not None:
            if by_namespace not in (None, in_path):
                raise NamespaceConflictError(first, hints.namespace or "")
            return in_path, rest, "path"
        if hints.namespace:
            return self._named(hints.namespace), repository, "ns"
        if hints.listener is not None:
            return self._by_name[hints.listener], repository, "listener"
        by_host = self._by_host.get(hints.host) or self._by_host.get(_without_port(hints.host))
        if by_host is not None:
            return by_host, repository, "host"
        return self._by_name[self.default], repository, "default"

    def _named(self, name: str) -> _Rule:
        rule = self._by_name.get(name)
        if rule is None:
            raise NamespaceUnknownError(name)
        return rule


def any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """Compile shell patterns into one; ``*`` crosses slashes. None if there are none."""
    alternatives = [translate(pattern) for pattern in patterns]
    return re.compile("|".join(alternatives)) if alternatives else None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
