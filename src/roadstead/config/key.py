"""One key of the configuration: its path, what becomes of it, and the tree of all of them.

Paths are dotted; ``[]`` stands for any element of a list, ``*`` for any name, and ``**`` for
anything below. The tree is what walks a document (``roadstead.config.compat``) and what the
names of environment variables are looked up in (``roadstead.config.environment``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

ELEMENT = "[]"
ANY_NAME = "*"
ANYTHING = "**"


class Status(StrEnum):
    """What becomes of a key."""

    WORKS = "works"
    """It does what it does in distribution, or, for our own keys, what it says."""
    ACCEPTED = "accepted"
    """It changes nothing for a mirror, and nobody needs to be told."""
    IGNORED = "ignored"
    """It has no effect here, which a warning says."""
    REFUSED = "refused"
    """Running without it would be wrong, so the start fails with the reason."""


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the compatibility table; an empty ``meaning`` is that of the key above.

    ``default`` is distribution's, for keys that do not work here; the default of a working
    key is in the models. ``field`` is the name of the Go field where it differs from the key:
    distribution's environment variables are made of those (registry facts, 1.9, rule 3).
    """

    path: str
    status: Status
    meaning: str
    default: str = ""
    fix: str = ""
    field: str = ""


def family(path: str, status: Status, names: str) -> tuple[Key, ...]:
    """Make keys under ``path`` that share the fate, and the meaning, of a key above them.

    ``names`` are separated by blanks; a default stands behind an equals sign.
    """
    pairs = (entry.partition("=") for entry in names.split())
    return tuple(Key(f"{path}.{name}", status, "", default) for name, _, default in pairs)


@dataclass(slots=True)
class Node:
    """One level of the schema; ``key`` is None for levels that are no row of the table."""

    key: Key | None = None
    children: dict[str, "Node"] = field(default_factory=dict)

    @property
    def element(self) -> "Node | None":
        """The node of the elements, if this is a list."""
        return self.children.get(ELEMENT)

    @property
    def any_name(self) -> "Node | None":
        """The node of every entry, if this is a map."""
        return self.children.get(ANY_NAME)

    @property
    def is_free(self) -> bool:
        """Whether anything may stand below."""
        return ANYTHING in self.children

    @property
    def has_settings(self) -> bool:
        """Whether a key that works is here or below."""
        is_setting = self.key is not None and self.key.status is Status.WORKS
        return is_setting or any(child.has_settings for child in self.children.values())

    @property
    def names(self) -> list[str]:
        """The keys that may stand here."""
        return [name for name in self.children if name not in {ELEMENT, ANY_NAME, ANYTHING}]

    def by_variable(self, part: str) -> tuple[str, "Node"] | None:
        """Find the key that a part of a variable's name means: YAML's name, or the Go field's."""
        for name in self.names:
            node = self.children[name]
            if part == name.upper() or (node.key and part and part == node.key.field):
                return name, node
        return None


def tree(keys: Iterable[Key]) -> Node:
    """Build the tree of all keys."""
    root = Node()
    for key in keys:
        node = root
        for part in split(key.path):
            node = node.children.setdefault(part, Node())
        node.key = key
    return root


def split(path: str) -> Iterator[str]:
    """Yield the parts of a path: ``health.http[].uri`` has four."""
    for part in path.split("."):
        name = part.removesuffix(ELEMENT)
        yield name
        if name != part:
            yield ELEMENT
