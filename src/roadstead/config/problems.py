"""pydantic's findings, told as problems of the configuration.

Messages are plain, name the key as it stands in the file, never show a secret, and say how
to mend it.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from roadstead.config.compat import join, suggestion
from roadstead.config.document import Value
from roadstead.config.masking import describe
from roadstead.config.refusal import UnusableValueError
from roadstead.errors import ConfigProblem

Location: TypeAlias = tuple[int | str, ...]

# pydantic's error type: what is wrong, and the fix. Fields of the error's context fill them.
_PLAIN: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("is required", "add it, or drop the entry that it belongs to"),
    "bool_parsing": ("must be true or false", ""),
    "bool_type": ("must be true or false", ""),
    "int_parsing": ("must be a whole number", ""),
    "int_type": ("must be a whole number", ""),
    "int_from_float": ("must be a whole number", ""),
    "int_parsing_size": ("is too large a number", ""),
    "finite_number": ("must be a finite number", ""),
    "string_type": ("must be text", "write one value, in quotes if need be"),
    "string_too_short": ("must not be empty", ""),
    "time_delta_type": ("must be a duration", "write a duration such as 10s"),
    "is_instance_of": ("must be text", "write one value, in quotes if need be"),
    "dict_type": ("must be a section", "write its keys on lines of their own, indented"),
    "model_type": ("must be a section", "write its keys on lines of their own, indented"),
    "tuple_type": ("must be a list", "write [value, value]"),
    "greater_than": ("must be more than {gt}", ""),
    "greater_than_equal": ("must be at least {ge}", ""),
    "less_than_equal": ("must be at most {le}", ""),
    "literal_error": ("must be {expected}", ""),
}


def problems_of(error: ValidationError, document: Value) -> list[ConfigProblem]:
    """Translate every finding; ``document`` is what was validated, for the values given."""
    return [
        _problem(details, document)
        for details in error.errors(include_url=False, include_input=False)
    ]


def _problem(details: ErrorDetails, document: Value) -> ConfigProblem:
    location: Location = details["loc"]
    path = ""
    for part in location:
        path = join(path, part)
    value = _given(document, location)
    reason, fix = _words(details)
    if details["type"] == "literal_error" and isinstance(value, str):
        near = suggestion(value.lower(), _choices(details))
        fix = f"did you mean {near}?" if near else fix
    return ConfigProblem(
        path=path or "the configuration", value=describe(path, value), reason=reason, fix=fix
    )


def _words(details: ErrorDetails) -> tuple[str, str]:
    context = details.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, UnusableValueError):
        return cause.reason, cause.fix
    reason, fix = _PLAIN.get(details["type"], ("cannot be used", ""))
    return reason.format_map(context), fix


def _choices(details: ErrorDetails) -> list[str]:
    expected = str(details.get("ctx", {}).get("expected", ""))
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _given(document: Value, location: Location) -> Value:
    value = document
    for part in location:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            break
    return value
