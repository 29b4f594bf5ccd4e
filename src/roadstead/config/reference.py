"""The compatibility table as text, for docs/configuration.md and ``roadstead config keys``."""

from types import NoneType
from typing import get_args, get_origin

from roadstead.config.compat import GROUPS, KEYS
from roadstead.config.document import Plain
from roadstead.config.fields import Section
from roadstead.config.key import ANY_NAME, ANYTHING, ELEMENT, Key, Status, split
from roadstead.config.render import plain
from roadstead.config.schema import Settings

_HEAD = "| key | status | default | for a mirror |\n| --- | --- | --- | --- |"


def compatibility_table() -> str:
    """Write all keys as Markdown, one table for each group."""
    defaults = model_defaults()
    return "\n".join(
        f"### {title}\n\n{_HEAD}\n" + "".join(_row(key, defaults) for key in keys)
        for title, keys in GROUPS.items()
    )


def model_defaults() -> dict[str, str]:
    """Give the default of each setting of the models, by the path of its key."""
    return dict(_defaults(Settings, ""))


def bare_path(path: str) -> str:
    """Cut what stands for the entries of a list or map: ``http.headers.*[]`` is a setting."""
    stripped = path
    for suffix in (ELEMENT, f".{ANY_NAME}", f".{ANYTHING}"):
        stripped = stripped.removesuffix(suffix)
    return stripped


def meant_by(key: Key) -> Key:
    """Find the key whose meaning holds for ``key``: itself, or the nearest above with one."""
    if key.meaning:
        return key
    parts = list(split(key.path))
    above = [other for other in KEYS if other.meaning and _leads_to(other, parts)]
    return max(above, key=lambda other: len(other.path))


def _leads_to(key: Key, parts: list[str]) -> bool:
    start = list(split(key.path))
    return start == parts[: len(start)]


def _row(key: Key, defaults: dict[str, str]) -> str:
    default = key.default
    if key.status is Status.WORKS:
        default = defaults.get(bare_path(key.path), "")
    shown = f"`{default}`" if default else ""
    meaning = key.meaning or f"see `{meant_by(key).path}`"
    if key.fix:
        meaning = f"{meaning}; {key.fix}"
    return f"| `{key.path}` | {key.status} | {shown} | {meaning} |\n"


def _defaults(section: type[Section], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, info in section.model_fields.items():
        path = f"{prefix}{name}"
        inner = _section_in(info.annotation)
        if inner is None:
            default = None if info.is_required() else info.get_default(call_default_factory=True)
            found.append((path, _text(plain(default))))
        elif inner[1]:
            found += _defaults(inner[0], f"{path}{inner[1]}.")
        else:
            found += _defaults(inner[0], f"{path}.")
    return found


def _section_in(annotation: object) -> tuple[type[Section], str] | None:
    """Find the model behind a field, and what stands in a path for its place in a list or map."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, ""
    arguments = [argument for argument in get_args(annotation) if argument is not NoneType]
    for argument in arguments:
        if isinstance(argument, type) and issubclass(argument, Section):
            if get_origin(annotation) is dict:
                return argument, f".{ANY_NAME}"
            return argument, ELEMENT if Ellipsis in arguments else ""
    return None


def _text(value: Plain) -> str:
    if value is None or value in ("", [], {}):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
