"""Every difference between the answers of registry 2.8.2 and Roadstead, with its reason.

The comparison fails over a difference that is not here, and over one that is here but does not
occur. docs/compatibility.md shows this table.
"""

from collections.abc import Mapping
from typing import Final

from tests.servers.differences.blobs import BLOBS
from tests.servers.differences.entry import Difference
from tests.servers.differences.general import GENERAL
from tests.servers.differences.lists import LISTS
from tests.servers.differences.manifests import MANIFESTS
from tests.servers.differences.paths import PATHS
from tests.servers.differences.writes import WRITES

GROUPS: Final[Mapping[str, tuple[Difference, ...]]] = {
    "All answers": GENERAL,
    "Paths and names": PATHS,
    "Manifests": MANIFESTS,
    "Blobs": BLOBS,
    "Tags, catalog and referrers": LISTS,
    "Writes": WRITES,
}
"""The table, in the chapters of the document."""

DIFFERENCES: Final = tuple(entry for entries in GROUPS.values() for entry in entries)


def expected_difference(case: str) -> dict[str, tuple[str, str]]:
    """Put together all that the table has for one case, in the form of ``exchange.difference``.

    Raises:
        AssertionError: two entries speak of the same part of the answer.
    """
    parts: dict[str, tuple[str, str]] = {}
    for entry in DIFFERENCES:
        if case in entry.cases:
            twice = entry.registry.keys() & parts.keys()
            assert not twice, f"{case}: two entries speak of {twice}"
            parts |= {part: (text, entry.roadstead[part]) for part, text in entry.registry.items()}
    return parts
