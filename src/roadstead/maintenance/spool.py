"""Lists that may be long, kept in a temporary file once they are."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

_IN_MEMORY_BYTES = 1024 * 1024


class Spool:
    """Rows of words, written first and then read, any number of times."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, *words: str) -> None:
        """Add a row; no word contains a blank."""
        self._file.write(" ".join(words) + "\n")
        self._count += 1

    def __iter__(self) -> Iterator[list[str]]:
        self._file.seek(0)
        for line in self._file:
            yield line.rstrip("\n").split(" ")
