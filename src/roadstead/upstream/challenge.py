"""WWW-Authenticate: which authentication a server asks for (RFC 9110, section 11.6.1).

Reads what registries really send: several headers, several challenges in one, values quoted
with escapes, values not quoted at all (nvcr.io). What cannot be read is skipped, never raised.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_MAX_HEADER_LENGTH = 16_384

_SEPARATORS = re.compile(r"[\s,]*")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a grammar
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))(?=\s*(?:,|$))")
_SCHEME = re.compile(rf"({_TOKEN})(?=[\s,]|$)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$))")
_REST = re.compile(r"[^,]*")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge; scheme and parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """Return a parameter, empty where it is missing."""
        return self.parameters.get(name, "")


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read all challenges of all WWW-Authenticate headers of one response, in order."""
    challenges: list[Challenge] = []
    for header in headers:
        challenges.extend(_parse(header[:_MAX_HEADER_LENGTH]))
    return challenges


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = _skip(_SEPARATORS, header, 0)
    while position < len(header):
        parameter = _PARAMETER.match(header, position)
        scheme = _SCHEME.match(header, position)
        if parameter is not None and found:
            name, quoted, bare = parameter.groups()
            value = bare if quoted is None else _ESCAPE.sub(r"\1", quoted)
            # The first of two is kept: a later one may have been added by somebody else.
            found[-1].parameters.setdefault(name.lower(), value)
            position = parameter.end()
        elif scheme is not None:
            found.append(Challenge(scheme.group(1).lower()))
            position = _skip(_TOKEN68, header, scheme.end())
        else:
            position = _skip(_REST, header, position)
        position = _skip(_SEPARATORS, header, position)
    return found


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()
