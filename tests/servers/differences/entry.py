"""One difference, and what most of them are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tests.servers.cases import CASES

JSON: Final = "application/json"
JSON_UTF8: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
NOT_FOUND: Final = "404 page not found\n"
YEAR: Final = "max-age=31536000"
READ_ONLY: Final = "The operation is unsupported: this is a read-only mirror."

Parts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What the two answer to some requests, which are named as cases.

    ``registry`` and ``roadstead`` have the same parts of an answer as keys; what one of the two
    does not send is an empty text there. ``title`` sums up many cases.
    """

    cases: frozenset[str]
    registry: Parts
    roadstead: Parts
    reason: str
    title: str = ""

    def __post_init__(self) -> None:
        assert self.registry.keys() == self.roadstead.keys()


def named(*patterns: str) -> frozenset[str]:
    """Return the names of cases that match a pattern, such as ``tags, n=*``."""
    found = {p: {case.name for case in CASES if fnmatchcase(case.name, p)} for p in patterns}
    assert all(found.values()), f"no case: {[p for p, names in found.items() if not names]}"
    return frozenset().union(*found.values())


def only_ours(cases: frozenset[str], *, reason: str, title: str = "", **headers: str) -> Difference:
    """Describe headers that the registry does not send."""
    ours = {name.replace("_", "-"): value for name, value in headers.items()}
    return Difference(cases, dict.fromkeys(ours, ""), ours, reason, title)
