"""The table of differences as Markdown: ``python -m tests.servers.document`` prints it."""

import itertools
import sys
from collections.abc import Iterator
from typing import Final

from tests.servers.cases import CASES, Case
from tests.servers.differences import GROUPS
from tests.servers.differences.entry import Difference, Parts

BEGIN: Final = "<!-- table: begin -->\n"
END: Final = "<!-- table: end -->"

_HEAD: Final = "| requests | registry 2.8.2 | Roadstead | why |\n| --- | --- | --- | --- |\n"
_NUMBERS: Final = {case.name: number for number, case in enumerate(CASES, start=1)}


def table() -> str:
    """Write the differences chapter by chapter, then the requests with their numbers."""
    chapters = [
        f"### {title}\n\n{_HEAD}" + "".join(map(_row, entries)) for title, entries in GROUPS.items()
    ]
    head = "### The requests\n\n| number | name | request |\n| --- | --- | --- |\n"
    return "\n".join([*chapters, head + "".join(map(_request, CASES))])


def _row(entry: Difference) -> str:
    cells = (_requests(entry), _parts(entry.registry), _parts(entry.roadstead), entry.reason)
    return f"| {' | '.join(cells)} |\n"


def _requests(entry: Difference) -> str:
    if entry.title:
        numbers = sorted(_NUMBERS[name] for name in entry.cases)
        return f"{entry.title} ({', '.join(_runs(numbers))})"
    names = sorted(entry.cases, key=_NUMBERS.__getitem__)
    return "<br>".join(f"{name} ({_NUMBERS[name]})" for name in names)


def _runs(numbers: list[int]) -> Iterator[str]:
    for _, run in itertools.groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        first, *rest = [number for _, number in run]
        yield f"{first}-{rest[-1]}" if rest else str(first)


def _parts(parts: Parts) -> str:
    """Write what an answer has; what it lacks is seen in the other column."""
    written = [f"`{name}: {' '.join(text.split())}`" for name, text in parts.items() if text]
    return "<br>".join(written) or "none"


def _request(case: Case) -> str:
    headers = [f"`{name}: {value}`" for name, value in case.headers if name != "Accept"]
    request = "<br>".join([f"`{case.method} {case.target}`", *headers])
    return f"| {_NUMBERS[case.name]} | {case.name} | {request} |\n"


if __name__ == "__main__":
    sys.stdout.write(table())
