"""What can be called to steer retention, by path on the debug listener."""

from collections.abc import Mapping

from roadstead.maintenance.steering import Steering
from roadstead.server.calls import Arguments, Call, Document, flag, seconds, text, texts


def retention_calls(steering: Steering) -> Mapping[str, Call]:
    """Give the calls by path; each raises RoadsteadError."""

    async def plan(_arguments: Arguments, _caller: str) -> Document:
        return await steering.plan()

    async def evict(arguments: Arguments, _caller: str) -> Document:
        dry_run = flag(arguments, "dry_run")
        return await steering.evict(texts(arguments, "patterns"), dry_run=dry_run)

    async def pin(arguments: Arguments, caller: str) -> Document:
        dry_run = flag(arguments, "dry_run")
        return await steering.pin(text(arguments, "pattern"), by=caller, dry_run=dry_run)

    async def unpin(arguments: Arguments, _caller: str) -> Document:
        dry_run = flag(arguments, "dry_run")
        return await steering.unpin(text(arguments, "pattern"), dry_run=dry_run)

    async def pins(_arguments: Arguments, _caller: str) -> Document:
        return await steering.pins()

    async def purge(arguments: Arguments, _caller: str) -> Document:
        return await steering.purge(
            older_than_seconds=seconds(arguments, "older_than_seconds"),
            dry_run=flag(arguments, "dry_run"),
        )

    return {
        "/debug/retention/plan": plan,
        "/debug/evict": evict,
        "/debug/pin": pin,
        "/debug/unpin": unpin,
        "/debug/pins": pins,
        "/debug/purge": purge,
    }
