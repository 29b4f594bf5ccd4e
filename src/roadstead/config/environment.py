"""``REGISTRY_*`` variables laid over a document (registry facts, 1.9).

Rules kept: variables are applied in order, parents before children; each part of a name
walks one level; values are YAML; an unknown name is a warning. Rules repaired: YAML's names
are understood beside those of Go's fields; maps inside free-form maps can be entered; lists
have indexes in order of number; what is no YAML is taken as it stands where a scalar is
expected, so that a password may begin with ``@``; underscores stand for what no shell lets into
a name, such as the dot in ``upstreams.ghcr.io``; a name that leads nowhere inside
``storage`` or ``auth`` is a warning and not a new driver, for Kubernetes makes such variables
(``REGISTRY_AUTH_SERVICE_HOST``) from the names of services.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from roadstead.config.compat import TREE, as_section, join, suggestion
from roadstead.config.document import DocumentError, Value, parse_document
from roadstead.config.key import Node
from roadstead.config.notice import Level, Notice
from roadstead.errors import ConfigProblem
from roadstead.secrecy import MASK

PREFIX: Final = "REGISTRY_"
CONFIGURATION_PATH: Final = "REGISTRY_CONFIGURATION_PATH"

_NAMED_BY_SCALAR = frozenset({"storage", "auth"})
_INDEX_DIGITS = 5
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9]")


@dataclass(slots=True)
class Overridden:
    """A document with the variables applied; ``origins`` maps a path to what set it."""

    document: dict[str, Value]
    origins: dict[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    problems: list[ConfigProblem] = field(default_factory=list)


class _UnrecognizedError(Exception):
    """No key has this name; ``instead`` is the name of one that is close."""

    def __init__(self, instead: str = "") -> None:
        super().__init__(instead)
        self.instead = instead


class _RejectedError(Exception):
    """The name is right but cannot be followed, or the value cannot be read."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True, slots=True)
class _Override:
    """One variable on its way down the tree; ``parts`` is what is left of its name."""

    payload: str
    parts: tuple[str, ...]
    path: str = ""
    walked: str = PREFIX

    def into(self, name: str | int, count: int = 1) -> "_Override":
        return _Override(
            payload=self.payload,
            parts=self.parts[count:],
            path=join(self.path, name),
            walked=f"{self.walked}{'_'.join(self.parts[:count])}_",
        )


def override(document: dict[str, Value], environ: Mapping[str, str]) -> Overridden:
    """Apply every ``REGISTRY_*`` variable to a copy of the document."""
    result = Overridden(copy.deepcopy(document))
    names = [name for name in environ if name.startswith(PREFIX) and name != CONFIGURATION_PATH]
    for name in sorted(names, key=_order):
        change = _Override(environ[name], tuple(name.removeprefix(PREFIX).split("_")))
        try:
            new, path = _struct(result.document, TREE, change)
        except _UnrecognizedError as error:
            hint = f"; did you mean {error.instead}?" if error.instead else ""
            text = f"Ignoring unrecognized environment variable {name}{hint}"
            result.notices.append(Notice(Level.WARNING, name, text))
        except _RejectedError as error:
            # The value may be a whole section with a password in it.
            result.problems.append(ConfigProblem(name, MASK, error.reason, error.fix))
        else:
            result.document = new
            result.origins[path] = name
    return result


def origin(path: str, origins: Mapping[str, str]) -> str | None:
    """Name the variable that set ``path``, the section that it is in, or something inside it."""
    above = [
        place for place in origins if path == place or path.startswith((f"{place}.", f"{place}["))
    ]
    if above:
        return origins[max(above, key=len)]
    below = [place for place in origins if place.startswith((f"{path}.", f"{path}["))]
    return origins[below[0]] if below else None


def _order(name: str) -> list[tuple[int, str]]:
    """Sort by parts, so that a parent precedes its children, and 2 precedes 10."""
    return [(int(part), "") if _is_index(part) else (-1, part) for part in name.split("_")]


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= _INDEX_DIGITS


def _step(value: Value, node: Node, change: _Override) -> tuple[Value, str]:
    """Give the new value of a node, and the path that was set."""
    if not change.parts:
        return _payload(change.payload, node), change.path
    if node.is_free:
        return _free(value, node, change)
    if node.element is not None:
        return _element(value, node.element, change)
    if node.any_name is not None:
        return _entry(value, node.any_name, change)
    if node.children:
        is_named = change.path in _NAMED_BY_SCALAR
        return _struct(as_section(value) if is_named else value, node, change)
    raise _UnrecognizedError


def _struct(value: Value, node: Node, change: _Override) -> tuple[dict[str, Value], str]:
    found = node.by_variable(change.parts[0])
    if not change.path and change.parts[0] == "VERSION":
        raise _UnrecognizedError  # the file's own, as in distribution
    if found is None:
        near = suggestion(change.parts[0], [name.upper() for name in node.names])
        raise _UnrecognizedError(f"{change.walked}{near}" if near else "")
    name, child = found
    section = _mapping(value, change)
    new, path = _step(section.get(name), child, change.into(name))
    return {**section, name: new}, path


def _entry(value: Value, node: Node, change: _Override) -> tuple[Value, str]:
    """Walk into a map: an existing key in any case, else a new one in lower case."""
    entries = _mapping(value, change)
    name, count = _entry_name(entries, node, change.parts)
    new, path = _step(entries.get(name), node, change.into(name, count))
    return {**entries, name: new}, path


def _entry_name(
    entries: Mapping[str, Value], node: Node, parts: tuple[str, ...]
) -> tuple[str, int]:
    """Find out which entry of a map is meant, and how many parts its name takes.

    A shell's variables have no dots in their names, which those of registries have:
    ``GHCR_IO_TAGTTL`` is ``tagttl`` of ``ghcr.io``. Only sections are entered so, since their
    keys tell where the name ends.
    """
    longest = len(parts) if node.names else 1
    for count in range(longest, 0, -1):
        spelled = "_".join(parts[:count])
        for name in entries:
            if name.upper() == spelled or (count > 1 and _spelled(name) == spelled):
                return name, count
    ends = [at for at in range(1, longest) if node.by_variable(parts[at]) is not None]
    count = ends[0] if ends else 1
    return ".".join(parts[:count]).lower(), count


def _spelled(name: str) -> str:
    """Write a name as a shell's variable can."""
    return _NO_NAME.sub("_", name).upper()


def _element(value: Value, node: Node, change: _Override) -> tuple[Value, str]:
    """Walk into a list; an index equal to the length appends."""
    if not _is_index(change.parts[0]):
        raise _UnrecognizedError
    items = list(value) if isinstance(value, list) else [value] if value else []
    index = int(change.parts[0])
    if index > len(items):
        message = f"undefined index: {index}; {change.path} has {len(items)} elements"
        raise _RejectedError(message, f"use {change.walked}{len(items)} to add one")
    new, path = _step(items[index] if index < len(items) else None, node, change.into(index))
    return [*items[:index], new, *items[index + 1 :]], path


def _free(value: Value, node: Node, change: _Override) -> tuple[Value, str]:
    """Walk into what has no schema; a scalar has nothing inside, as in distribution."""
    if isinstance(value, str):
        raise _UnrecognizedError
    if isinstance(value, list):
        return _element(value, node, change)
    return _entry(value, node, change)


def _mapping(value: Value, change: _Override) -> dict[str, Value]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    message = f"{change.path} is not a section, so nothing in it can be set"
    raise _RejectedError(message, f"make {change.path} a section in the file")


def _payload(text: str, node: Node) -> Value:
    """Read a value; where a scalar belongs, what is no YAML scalar is text as it stands."""
    is_scalar = not node.children
    try:
        value = parse_document(text)
    except DocumentError as error:
        if is_scalar:
            return text
        message = f"is not YAML: {error}"
        raise _RejectedError(message, "quote the value, or write it as one line of YAML") from None
    return text if is_scalar and isinstance(value, dict | list) else value
