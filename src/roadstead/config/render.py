"""The effective configuration, as it can be printed: every default in, every secret masked."""

from datetime import timedelta

from roadstead.config.document import Plain, dump
from roadstead.config.duration import format_duration
from roadstead.config.fields import Section
from roadstead.config.masking import mask_tree
from roadstead.config.schema import Settings
from roadstead.secrecy import MASK, Secret


def effective(settings: Settings) -> Plain:
    """Give the settings as plain values under the keys of a file; what is unset is left out."""
    return plain(settings)


def render(settings: Settings) -> str:
    """Write the settings as YAML that loads again, but for its masked secrets."""
    return dump(effective(settings))


def plain(value: object) -> Plain:
    """Turn a value of the models into what YAML and JSON can write, masked."""
    match value:
        case Section():
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            return {name: plain(item) for name, item in fields.items() if item is not None}
        case Secret():
            return MASK
        case timedelta():
            return format_duration(value)
        case dict() if any(isinstance(item, Section) for item in value.values()):
            return {name: plain(item) for name, item in value.items()}
        case dict():
            return mask_tree({name: plain(item) for name, item in value.items()})
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return mask_tree(str(value))
