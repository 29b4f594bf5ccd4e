"""The audit log: who steered the mirror, how, and what became of it.

One line for each call, written at its end, whatever that is. It is a logger of its own, whose
lines stand in the application log whatever ``log.level`` says, unless it is switched off.
"""

import logging
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from roadstead.errors import AccessDeniedError, AuthenticationRequiredError, TooManyAttemptsError

LOGGER: Final = "roadstead.audit"

_log = logging.getLogger(LOGGER)
_REFUSALS: Final = (AccessDeniedError, AuthenticationRequiredError, TooManyAttemptsError)


class Ending(StrEnum):
    """What became of a call."""

    DONE = "done"
    DRY_RUN = "dry-run"
    """It was only said what would be done."""
    REFUSED = "refused"
    """The caller may not do it."""
    FAILED = "failed"


@dataclass(slots=True)
class AuditEntry:
    """What there is to say of one call; ``caller`` and the rest are filled in as they are known.

    ``images`` and ``size_bytes`` tell how much it was about: removed, or held by a pin.
    """

    call: str
    caller: str = ""
    address: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    size_bytes: int | None = None
    is_dry_run: bool = False

    def take(self, document: Mapping[str, Any]) -> None:
        """Take what is to be said from the document that a steering call answers with."""
        self.is_dry_run = bool(document.get("dry_run"))
        images = document.get("evicted", document.get("images"))
        self.images = len(images) if isinstance(images, list) else images
        self.size_bytes = document.get("freed_bytes", document.get("bytes"))


@contextmanager
def audited(call: str, *, caller: str = "", address: str = "") -> Iterator[AuditEntry]:
    """Log a call at its end; an exception goes on, and its text stands in the line."""
    entry = AuditEntry(call, caller, address)
    started = time.perf_counter()
    try:
        yield entry
    except BaseException as error:
        refused = isinstance(error, _REFUSALS)
        cause = str(error) or type(error).__name__
        _write(entry, Ending.REFUSED if refused else Ending.FAILED, started, cause)
        raise
    _write(entry, Ending.DRY_RUN if entry.is_dry_run else Ending.DONE, started)


def switch(*, on: bool) -> None:
    """Let the lines through, whatever the level of the other loggers is, or none of them."""
    _log.setLevel(logging.INFO if on else logging.CRITICAL + 1)


def local_user() -> str:
    """Name who runs this process, for commands: ``root``, or ``root for alice`` with sudo."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    on_behalf = os.environ.get("SUDO_USER", "")
    return f"{name} for {on_behalf}" if on_behalf and on_behalf != name else name


def _write(entry: AuditEntry, ending: Ending, started: float, error: str = "") -> None:
    fields = {
        "audit.call": entry.call,
        "audit.caller": entry.caller,
        "audit.address": entry.address,
        "audit.arguments": dict(entry.arguments),
        "audit.outcome": str(ending),
        "audit.images": entry.images,
        "audit.bytes": entry.size_bytes,
        "audit.seconds": round(time.perf_counter() - started, 3),
        "audit.error": error,
    }
    told = {name: value for name, value in fields.items() if value not in ("", None, {})}
    level = logging.WARNING if error else logging.INFO
    _log.log(level, "the mirror was steered", extra={"fields": told})
