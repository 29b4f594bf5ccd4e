"""Reads back what the logs write."""

import ast
import re

_FIELD = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')


def parse_text(line: str) -> dict[str, str]:
    """Return the fields of a logrus text line, unquoted; every character has to be part of one."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(line):
        found = _FIELD.match(line, at)
        assert found is not None, line[at:]
        name, value = found.groups()
        assert name not in fields
        fields[name] = ast.literal_eval(value) if value.startswith('"') else value
        at = found.end()
    return fields
