"""When a limit cannot hold, because all that could go is protected: what is told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from roadstead.maintenance.plan import Kept, Plan, Protection, Wish
from roadstead.metadata.records import Scope
from roadstead.telemetry.events import EvictionReason

Kind: TypeAlias = tuple[EvictionReason, Scope]
"""Which limit."""

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shortfall:
    """So much more should have gone for ``kinds`` of limits and is ``kept``.

    ``at`` is when that was found (epoch seconds). ``more_bytes`` is what was to arrive and found
    no room; 0: a limit was crossed without it.
    """

    at: float
    missing_bytes: int
    more_bytes: int
    kinds: frozenset[Kind]
    kept: Mapping[Protection, Kept]

    def __str__(self) -> str:
        kept = ", ".join(
            f"{why} ({_count(kept.images)}, {_size(kept.size_bytes)})"
            for why, kept in sorted(self.kept.items())
        )
        reasons = " and ".join(sorted({str(reason) for reason, _ in self.kinds}))
        outcome = (
            "new content is passed through, not kept" if self.more_bytes else "nothing more goes"
        )
        return (
            f"{reasons} cannot hold, {outcome}: {_size(self.missing_bytes)} more should go; "
            f"what is left is {kept or 'nothing'}"
        )

    def concerns(self, wishes: Sequence[Wish], more_bytes: int) -> bool:
        """Say whether room for ``more_bytes`` cannot be made either, if nothing has changed.

        It asks the same limits for more than could be freed then.
        """
        freeable = self.more_bytes - self.missing_bytes
        return more_bytes > freeable and self.kinds <= kinds_of(wishes)

    def is_ended_by_run(self, only: EvictionReason | None) -> bool:
        """Say whether a run that does all it wants to, for one reason or all, ends this."""
        return not self.more_bytes and all(only in (None, reason) for reason, _ in self.kinds)


def kinds_of(wishes: Sequence[Wish]) -> frozenset[Kind]:
    """Return which limits ask for something that must go."""
    return frozenset((one.reason, one.scope) for one in wishes if one.must_bytes)


def shortfall_of(
    plan: Plan, wishes: Sequence[Wish], *, more_bytes: int = 0, at: float
) -> Shortfall | None:
    """Say what a plan for ``wishes`` falls short of; None: of nothing."""
    if not plan.missing_bytes:
        return None
    return Shortfall(at, plan.missing_bytes, more_bytes, kinds_of(wishes), plan.kept)


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _size(count: int) -> str:
    return f"{count / _MIB:,.1f} MiB"
