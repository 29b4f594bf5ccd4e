"""YAML read the way distribution reads it: the schema, not the writing, decides types.

Go hands a text field the characters of the file, so ``password: 0123`` is four characters
and ``version: 0.1`` is not a float. Scalars written without quotes therefore stay text here
(as ``BareScalar``), and the settings models turn them into numbers and booleans where those
are wanted. Duplicate keys are accepted, the last one wins; only the first document of a
stream is read (registry facts, 1).
"""

import re
from typing import TypeAlias

import yaml

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"
"""A parsed document or a part of it."""

Plain: TypeAlias = "str | bool | int | float | list[Plain] | dict[str, Plain] | None"
"""A value whose scalars have the types that YAML 1.1 gives them."""

_TYPED_TAGS = ("bool", "int", "float", "timestamp", "value")

# PyYAML quotes what it stumbled over, which may be a part of a password; the names of its
# own tokens, in angle brackets, and single characters are kept.
_QUOTED = re.compile(r" '(?!<)[^']{2,}'")


class BareScalar(str):
    """The characters of a scalar that was written without quotes."""

    __slots__ = ()


class DocumentError(ValueError):
    """The text is not YAML; the message has line and column, and nothing of the text."""


class _Loader(yaml.SafeLoader):
    """A safe loader that leaves the types of scalars to the schema."""


def _construct_bare(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> BareScalar:
    return BareScalar(loader.construct_scalar(node))


for _tag in _TYPED_TAGS:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct_bare)


def parse_document(text: str) -> Value:
    """Parse one YAML document.

    Raises:
        DocumentError: it is not YAML, or nests too deeply or into itself.
    """
    try:
        return _normalised(next(iter(yaml.load_all(text, _Loader)), None))
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_reason(error)) from None
    except yaml.reader.ReaderError as error:
        message = f"character {error.position + 1} cannot stand in YAML: {error.reason}"
        raise DocumentError(message) from None
    except RecursionError:
        message = "it nests too deeply, or an anchor contains itself"
        raise DocumentError(message) from None


def resolve(value: Value) -> Plain:
    """Give the scalars of a free-form value the types that YAML 1.1 gives them."""
    if isinstance(value, dict):
        return {key: resolve(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item) for item in value]
    if not isinstance(value, BareScalar):
        return value
    typed = yaml.safe_load(value)
    return typed if isinstance(typed, bool | int | float) else str(value)


def dump(value: Plain) -> str:
    """Write a value as YAML, its keys in the given order."""
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True)


def _normalised(value: object) -> Value:
    """Make keys text, and whatever YAML has beyond maps, lists and scalars one of these."""
    if isinstance(value, dict):
        return {_key(key): _normalised(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_normalised(item) for item in value]
    if isinstance(value, bytes):  # !!binary
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _key(key: object) -> str:
    return "null" if key is None else str(key)


def _reason(error: yaml.MarkedYAMLError) -> str:
    text = _QUOTED.sub("", ", ".join(part for part in (error.context, error.problem) if part))
    mark = error.problem_mark or error.context_mark
    return text if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {text}"
