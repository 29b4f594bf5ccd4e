"""What the operator should know about a configuration that can be used."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How loud a notice is."""

    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """One remark; ``path`` is a key's path, or the name of an environment variable."""

    level: Level
    path: str
    text: str

    def __str__(self) -> str:
        return self.text if self.path in self.text else f"{self.path}: {self.text}"
