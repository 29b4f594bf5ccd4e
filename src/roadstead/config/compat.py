"""What becomes of every key: the table, and a document judged by it.

The table (``KEYS``) is the single source: it decides what reaches the settings models, what
the warnings say, which environment variables exist, and what docs/configuration.md lists.
distribution ignores unknown keys without a word; here they are named, with a suggestion, and
never fail the start.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from roadstead.config.compat_access import ACCESS, AUTH
from roadstead.config.compat_notifications import NOTIFICATIONS
from roadstead.config.compat_served import GENERAL, HEALTH, HTTP
from roadstead.config.compat_stored import RESERVED, STORAGE, VERIFY
from roadstead.config.compat_unused import MIDDLEWARE, PUSHES, REDIS
from roadstead.config.compat_upstream import PROXY, RETENTION, UPSTREAMS
from roadstead.config.document import Value
from roadstead.config.key import ANY_NAME, Key, Node, Status, tree
from roadstead.config.masking import describe
from roadstead.config.notice import Level, Notice
from roadstead.errors import ConfigProblem

GROUPS: Final = {
    "General": GENERAL,
    "Storage": STORAGE,
    "HTTP": HTTP,
    "The default upstream": PROXY,
    "Further upstreams, and all of them": UPSTREAMS,
    "Retention": RETENTION,
    "Verification": VERIFY,
    "Health": HEALTH,
    "Authentication of clients": AUTH,
    "Who may pull what": ACCESS,
    "Middleware": MIDDLEWARE,
    "Notifications": NOTIFICATIONS,
    "Redis": REDIS,
    "What concerns pushes, and the rest": PUSHES,
}

KEYS: Final[tuple[Key, ...]] = tuple(key for group in GROUPS.values() for key in group)
TREE: Final[Node] = tree(KEYS)

_EMPTY_SCALARS = frozenset({"", "0", "0s", "false", "no", "off", "n"})
_SIMILARITY = 0.75


@dataclass(slots=True)
class Assessment:
    """A document sorted by the table: what the models get, and what is to be said."""

    document: dict[str, Value] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    problems: list[ConfigProblem] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)


def assess(document: dict[str, Value]) -> Assessment:
    """Sort a document into what works, what is named in a notice, and what is refused."""
    assessment = Assessment()
    checked = dict(document)
    if "storage" in checked:
        checked["storage"] = _one_driver(checked["storage"], assessment.problems)
    else:
        assessment.problems.append(
            ConfigProblem(
                path="storage",
                value="nothing",
                reason="no storage configuration provided",
                fix="add storage: {filesystem: {rootdirectory: /var/lib/registry}}",
            )
        )
    checked["auth"] = _one_provider(checked.get("auth"), assessment)
    assessment.document = _section(checked, TREE, "", assessment)
    return assessment


def join(path: str, part: str | int) -> str:
    """Add one part to a path: a name after a dot, an index in brackets."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def is_idle(value: Value) -> bool:
    """Say whether a value asks for nothing: empty, zero, false, or made of such."""
    if isinstance(value, dict):
        return all(is_idle(item) for item in value.values())
    if isinstance(value, list):
        return all(is_idle(item) for item in value)
    return value is None or value.lower() in _EMPTY_SCALARS


def suggestion(name: str, known: list[str]) -> str | None:
    """Find the known name that somebody who wrote ``name`` may have meant."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=_SIMILARITY)), None)


def as_section(value: Value) -> Value:
    """Read a driver named by a bare scalar, ``storage: inmemory``, as the section it stands for."""
    return {str(value): {}} if isinstance(value, str) and value else value


def _section(
    section: dict[str, Value], node: Node, path: str, assessment: Assessment
) -> dict[str, Value]:
    kept: dict[str, Value] = {}
    for name, value in section.items():
        child = node.children.get(name) or node.any_name
        if child is None:
            assessment.notices.append(_unknown(name, node, path))
            continue
        if _is_used(value, child, join(path, name), assessment):
            sorted_out = _value(value, child, join(path, name), assessment)
            if child.has_settings:
                kept[name] = sorted_out
    return kept


def _value(value: Value, node: Node, path: str, assessment: Assessment) -> Value:
    if node.is_free:
        return value
    if node.element is not None:
        if not isinstance(value, list):
            return value
        return [
            _value(item, node.element, join(path, index), assessment)
            for index, item in enumerate(value)
        ]
    if node.children and isinstance(value, dict):
        return _section(value, node, path, assessment)
    return value


def _is_used(value: Value, node: Node, path: str, assessment: Assessment) -> bool:
    """Say whether the value goes on to the models, and report it if it does not."""
    if node.key is None or node.key.status is Status.WORKS:
        return value is not None
    if is_idle(value):
        return False
    if node.key.status is Status.ACCEPTED:
        assessment.accepted.append(path)
    elif node.key.status is Status.IGNORED:
        text = f"is ignored: {node.key.meaning}"
        assessment.notices.append(Notice(Level.WARNING, path, text))
    else:
        assessment.problems.append(_refusal(path, value, node.key))
    return False


def _one_driver(value: Value, problems: list[ConfigProblem]) -> Value:
    """Check that ``storage`` names exactly one driver, and one that works; texts are Go's."""
    section = as_section(value)
    if not isinstance(section, dict):
        section = {}
    drivers = sorted(name for name in section if name not in RESERVED)
    if len(drivers) != 1:
        reason = "no storage configuration provided"
        if drivers:
            reason = f"must provide exactly one storage type. Provided: [{' '.join(drivers)}]"
        fix = "keep filesystem only" if "filesystem" in drivers else "add storage.filesystem"
        problems.append(ConfigProblem("storage", describe("storage", value), reason, fix))
        return None
    driver = drivers[0]
    node = TREE.children["storage"].children.get(driver)
    if node is None:
        known = suggestion(driver, ["filesystem"]) or "filesystem"
        problems.append(
            ConfigProblem(
                path=join("storage", driver),
                value=describe(driver, section[driver]),
                reason="is not a storage driver",
                fix=f"did you mean {known}?",
            )
        )
        return None
    if node.key is not None:
        problems.append(_refusal(join("storage", driver), section[driver], node.key))
        return None
    return section


def _one_provider(value: Value, assessment: Assessment) -> Value:
    """Check that ``auth`` names at most one provider, and one that there is."""
    section = as_section(value)
    if not isinstance(section, dict) or not section:
        return None
    if len(section) > 1:
        reason = f"must provide exactly one type. Provided: [{' '.join(sorted(section))}]"
        assessment.problems.append(ConfigProblem("auth", "a section", reason, "keep one"))
        return None
    name, given = next(iter(section.items()))
    known = TREE.children["auth"].names
    if name not in known:
        # Not a mere warning: whoever wrote one wanted the mirror closed.
        meant = suggestion(name, known) or "htpasswd, token, silly or none"
        reason = "is no way to authenticate, and ignoring it would open the mirror"
        problem = ConfigProblem(
            join("auth", name), describe(name, given), reason, f"did you mean {meant}?"
        )
        assessment.problems.append(problem)
        return None
    # A provider without settings lacks those that it needs, which the models say.
    return {name: {} if given is None or given == "" else given}


def _refusal(path: str, value: Value, key: Key) -> ConfigProblem:
    return ConfigProblem(
        path=path,
        value=describe(path, value),
        reason=f"is not supported: {key.meaning}",
        fix=key.fix,
    )


def _unknown(name: str, node: Node, path: str) -> Notice:
    text = "is not a known key and has no effect"
    near = suggestion(name.lower(), node.names)
    meant = join(path, near) if near else _elsewhere(name)
    if meant:
        text = f"{text}; did you mean {meant}?"
    return Notice(Level.WARNING, join(path, name), text)


def _elsewhere(name: str) -> str | None:
    """Find a key of this very name at another place, if there is only one such.

    What stands under any name, as in ``upstreams.*``, stands under a fixed one too.
    """
    places = [key.path for key in KEYS if key.path.rpartition(".")[2] == name]
    places = [path for path in places if ANY_NAME not in path]
    return places[0] if len(places) == 1 else None
