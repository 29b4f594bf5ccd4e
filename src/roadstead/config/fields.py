"""The types of single settings: how the text of a document becomes a value.

Each is an annotated type for the models in ``roadstead.config.schema``; what cannot be used
raises UnusableValueError with the fix, and pydantic collects the errors of all fields.
"""

from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StringConstraints,
)

from roadstead.config.address import parse_address
from roadstead.config.cron import check_cron
from roadstead.config.document import Value, resolve
from roadstead.config.duration import parse_age, parse_duration
from roadstead.config.refusal import UnusableValueError
from roadstead.config.size import DiskShare, parse_size
from roadstead.secrecy import Secret


class Section(BaseModel):
    """One level of the configuration; attributes are the keys of the file."""

    # Built when it is first used: of most sections only as a part of the whole.
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _bounding(value: timedelta) -> timedelta:
    if not value:
        message = "is zero, and every wait has a limit"
        raise UnusableValueError(message, fix="use a duration above 0s")
    return value


def _secret(value: object) -> object:
    return Secret(str(value)) if isinstance(value, str) else value


def _address(value: object) -> object:
    if isinstance(value, str) and value:
        parse_address(value)
    return value


def _age(value: object) -> object:
    return parse_age(value) if isinstance(value, str) else value


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _disk_share(value: object) -> object:
    return DiskShare.parse(value) if isinstance(value, str) else value


def _resolved(value: Value) -> object:
    return resolve(value)


def as_list(value: object) -> object:
    """Read a single text as a list of one."""
    return [value] if isinstance(value, str) else value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration)]
"""A duration in Go's syntax."""

Wait: TypeAlias = Annotated[Duration, AfterValidator(_bounding)]
"""A duration that bounds a wait: never zero, for that would mean for ever or not at all."""

Age: TypeAlias = Annotated[timedelta, BeforeValidator(_age)]
"""A duration that may also be given in days or weeks: ``30d``."""

Size: TypeAlias = Annotated[int, BeforeValidator(_size)]
"""A number of bytes, with a unit or without."""

Share: TypeAlias = Annotated[InstanceOf[DiskShare], BeforeValidator(_disk_share)]
"""A number of bytes, or a percentage of a disk."""

Schedule: TypeAlias = Annotated[str, AfterValidator(check_cron)]
"""When something recurs, as a cron expression; empty is never."""

SecretText: TypeAlias = Annotated[InstanceOf[Secret], BeforeValidator(_secret)]
"""A text that is masked wherever it is printed."""

Number: TypeAlias = Annotated[int, BeforeValidator(_resolved)]
"""A whole number, in any notation of YAML."""

Count: TypeAlias = Annotated[Number, Field(ge=0)]
"""A whole number of zero or more."""

Address: TypeAlias = Annotated[str, BeforeValidator(_address)]
"""``host:port`` or ``:port``; empty where the key is optional."""

Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(as_list)]
"""A list of texts; a single text is a list of one."""

Required: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
"""A text that must not be empty."""

LogLevel: TypeAlias = Annotated[
    Literal["error", "warn", "info", "debug"], BeforeValidator(_lowered)
]
"""A level of distribution's; upper or lower case."""
