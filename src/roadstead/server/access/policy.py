"""Who may do what: the one place where it is decided, by pure rules over values.

A caller is an address and a set of identities, each proved by somebody (a password, a token, a
certificate, a shared header). Kinds are kept apart, so that the common name of a certificate
can never pass for a user of the same name. Rules are read in order, the first that fits decides,
and what no rule fits is refused.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final

from roadstead.server.access.networks import NOWHERE, Address, Networks

EVERYBODY: Final = "everybody"
"""The principal that every caller is, the anonymous one too."""
AUTHENTICATED: Final = "authenticated"
"""The principal that every caller with a proved identity is."""
KINDS: Final = frozenset({"user", "group", "certificate", "organization", "header"})


@dataclass(frozen=True, slots=True)
class Identity:
    """One thing that is proved of a caller: ``user`` alice, ``certificate`` build-7."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; ``address`` is None if nobody trusted knows it."""

    address: Address | None = None
    identities: frozenset[Identity] = frozenset()

    def __str__(self) -> str:
        return ", ".join(sorted(map(str, self.identities))) or "an anonymous client"


@dataclass(frozen=True, slots=True)
class Principals:
    """Patterns of callers: ``everybody``, ``authenticated``, ``user:alice``, ``group:*``."""

    everybody: bool = False
    authenticated: bool = False
    by_kind: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Principals":
        """Read them.

        Raises:
            ValueError: one is neither of the two words nor ``kind:pattern``.
        """
        words, patterns = set(), dict[str, list[str]]()
        for text in texts:
            kind, colon, pattern = text.partition(":")
            if text in (EVERYBODY, AUTHENTICATED):
                words.add(text)
            elif colon and pattern and kind in KINDS:
                patterns.setdefault(kind, []).append(translate(pattern))
            else:
                message = f"{text!r} is no principal"
                raise ValueError(message)
        return cls(
            everybody=EVERYBODY in words,
            authenticated=AUTHENTICATED in words,
            by_kind={kind: re.compile("|".join(given)) for kind, given in patterns.items()},
        )

    def __bool__(self) -> bool:
        return self.everybody or self.authenticated or bool(self.by_kind)

    def match(self, caller: Caller) -> bool:
        """Say whether the caller is one of them."""
        if self.everybody or (self.authenticated and caller.identities):
            return True
        return any(
            (pattern := self.by_kind.get(one.kind)) is not None and pattern.fullmatch(one.name)
            for one in caller.identities
        )


NOBODY: Final = Principals()


@dataclass(frozen=True, slots=True)
class Rule:
    """What is said of some callers; an empty condition holds for all.

    ``allows`` False refuses. ``repositories`` are upstream's own names.
    """

    allows: bool
    principals: Principals
    networks: Networks = NOWHERE
    upstreams: frozenset[str] = frozenset()
    repositories: re.Pattern[str] | None = None

    def is_about(self, caller: Caller) -> bool:
        """Say whether the rule is for this caller, whatever the repository."""
        if not self.principals.match(caller):
            return False
        if not self.networks:
            return True
        if caller.address is None:
            return not self.allows
        return caller.address in self.networks

    def covers(self, upstream: str, repository: str) -> bool:
        """Say whether the rule is for this repository, whoever asks."""
        if self.upstreams and upstream not in self.upstreams:
            return False
        return self.repositories is None or self.repositories.fullmatch(repository) is not None

    @property
    def is_for_all_repositories(self) -> bool:
        """Whether no repository is left out."""
        return not self.upstreams and self.repositories is None


@dataclass(frozen=True, slots=True)
class Policy:
    """All that is configured about who may do what.

    Outside ``allowed`` networks (if there are any) and inside ``denied`` ones nobody may do
    anything, whoever it is. ``groups`` give further identities. ``admins`` may steer.
    """

    rules: tuple[Rule, ...] = ()
    allowed: Networks = NOWHERE
    denied: Networks = NOWHERE
    groups: Mapping[str, Principals] = field(default_factory=dict)
    admins: Principals = NOBODY

    @property
    def is_open(self) -> bool:
        """Whether everybody may read everything, so that nobody has to be asked who it is."""
        first = self.rules[0] if self.rules else None
        return (
            first is not None
            and first.allows
            and first.principals.everybody
            and first.is_for_all_repositories
            and not first.networks
            and not self.allowed
            and not self.denied
        )

    def admits(self, address: Address | None) -> bool:
        """Say whether anything at all may be done from this address."""
        if address is None:
            return not self.allowed and not self.denied
        if self.denied and address in self.denied:
            return False
        return not self.allowed or address in self.allowed

    def with_groups(self, caller: Caller) -> Caller:
        """Add the groups that a caller belongs to; groups do not nest."""
        found = {Identity("group", name) for name, who in self.groups.items() if who.match(caller)}
        return Caller(caller.address, caller.identities | found) if found else caller

    def may_enter(self, caller: Caller) -> bool:
        """Say whether there may be a repository that the caller may read."""
        for rule in self.rules:
            if rule.is_about(caller):
                if rule.allows:
                    return self.admits(caller.address)
                if rule.is_for_all_repositories:
                    return False
        return False

    def may_read(self, caller: Caller, upstream: str, repository: str) -> bool:
        """Say whether the caller may pull a repository, by upstream's own name for it."""
        for rule in self.rules:
            if rule.is_about(caller) and rule.covers(upstream, repository):
                return rule.allows and self.admits(caller.address)
        return False

    def is_admin(self, caller: Caller) -> bool:
        """Say whether the caller may steer the mirror."""
        return self.admits(caller.address) and self.admins.match(caller)
