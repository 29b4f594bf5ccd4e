"""Says what a reload has changed."""

import logging
from collections.abc import Iterator

from roadstead.config.document import Plain
from roadstead.config.load import Loaded
from roadstead.config.render import effective

_log = logging.getLogger("roadstead.runtime")


def log_changes(before: Loaded, after: Loaded) -> None:
    """Name the keys whose values differ."""
    changed = sorted(_differences(effective(before.settings), effective(after.settings)))
    _log.info("reloaded; changed: %s", ", ".join(changed) or "nothing")


def _differences(before: Plain, after: Plain, path: str = "") -> Iterator[str]:
    """Yield the paths of the keys whose values differ; a masked secret never seems to."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            inner = f"{path}.{key}" if path else key
            yield from _differences(before.get(key), after.get(key), inner)
    elif before != after:
        yield path
