"""A text that must not be seen: it prints as ``***`` wherever it ends up."""

from dataclasses import dataclass

MASK = "***"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A password, token or key; only ``reveal`` gives the text away.

    ``str``, ``repr`` and every format give the mask, so that a log line, an error message or
    a dump of the settings never shows it, whoever wrote that line.
    """

    _text: str

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends it."""
        return self._text

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return MASK
