"""The keeper's side of all channels: room, turns, news, and what the workers report."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from roadstead.maintenance.keeper import LimitKeeper, SpaceReservation
from roadstead.maintenance.plan import Usage
from roadstead.maintenance.promises import Promises
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.workers import removed as removals
from roadstead.runtime.workers.channel import Channel, Message, wait_for
from roadstead.runtime.workers.turns import Turns
from roadstead.storage.base import Removed
from roadstead.telemetry.sums import Retired

_PATIENCE_SECONDS: Final = 2.0
"""How long a worker may take to answer before its last report has to do."""


@dataclass(slots=True)
class Seat:
    """One worker as the office knows it: its channel, what it holds, what it last said."""

    number: int
    channel: Channel
    process: int
    report: Message = field(default_factory=dict)
    usage: Message = field(default_factory=dict)
    reservations: dict[int, SpaceReservation] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Office:
    """What all workers share. ``keeper`` and ``mirrors`` are those of the current generation."""

    def __init__(self) -> None:
        self._seats: dict[int, Seat] = {}
        self._numbers = 0
        self._reservations = 0
        self._turns = Turns()
        self._budgets: dict[tuple[str, ...], Mapping[str, Any]] = {}
        self._loop = asyncio.get_running_loop()
        self.promises = Promises()
        self.keeper: LimitKeeper | None = None
        self.mirrors: Mirrors | None = None
        self.retired = Retired()
        self.restarts = 0

    def enter(self, channel: Channel, process: int) -> Seat:
        """Open a seat for a worker, by its process id."""
        self._numbers += 1
        seat = self._seats[self._numbers] = Seat(self._numbers, channel, process)
        if self._budgets:
            channel.tell("budgets", budgets=list(self._budgets.values()))
        return seat

    async def serve(self, seat: Seat) -> None:
        """Serve a worker until it is gone; what it held is free then."""
        try:
            await seat.channel.run(_Dealings(self, seat))
        finally:
            del self._seats[seat.number]
            self._turns.forget(seat.number)
            for reservation in seat.reservations.values():
                reservation.release()
            self.retired.add(seat.report.get("metrics", {}))

    @property
    def seats(self) -> list[Seat]:
        """All seats."""
        return list(self._seats.values())

    @property
    def reports(self) -> list[Message]:
        """What the workers that run said last."""
        return [one.report for one in self._seats.values() if one.report]

    @property
    def running(self) -> int:
        """How many workers serve clients."""
        return sum(one.ready.is_set() for one in self._seats.values())

    @property
    def processes(self) -> list[int]:
        """Their process ids, also of those that finish."""
        return [one.process for one in self._seats.values()]

    async def refresh(self) -> None:
        """Have all workers report."""
        await asyncio.gather(*(self._refresh(one) for one in list(self._seats.values())))

    async def gather(self) -> None:
        """Have all workers write what they noted of pulls, and say what they are using."""

        async def ask(seat: Seat) -> None:
            answer = await wait_for(seat.channel.ask("usage"), _PATIENCE_SECONDS, None)
            seat.usage = answer or seat.usage

        await asyncio.gather(*map(ask, list(self._seats.values())))

    def usage(self) -> Usage:
        """Say what workers are using, as they said last, and what is arriving."""
        in_use: set[str] = set()
        since: dict[RepositoryName, float] = {}
        for seat in self._seats.values():
            in_use.update(seat.usage.get("in_use", ()))
            in_use.update(str(one.digest) for one in seat.reservations.values())
            pulling: Mapping[str, float] = seat.usage.get("pulling_since", {})
            arriving = {one.repository: one.since for one in seat.reservations.values()}
            for name, began in (*pulling.items(), *arriving.items()):
                repository = RepositoryName(name)
                since[repository] = min(began, since.get(repository, began))
        return Usage(lambda digest: str(digest) in in_use, since)

    def removed(self, _at: float, batch: Sequence[Removed]) -> None:
        """Tell all workers of removals, for the store's ``on_removal``; from any thread."""
        written = removals.to_json(batch)
        self._loop.call_soon_threadsafe(lambda: self.tell_all("forget", removed=written))

    def tell_all(self, what: str, *, but: Seat | None = None, **message: object) -> None:
        """Tell all workers, but for one."""
        for seat in self._seats.values():
            if seat is not but:
                seat.channel.tell(what, **message)

    async def reserve(self, seat: Seat, message: Message) -> list[int] | None:
        """Make room; return the reservation's number and size."""
        if self.keeper is None:
            return None
        deciding = asyncio.ensure_future(
            self.keeper.reserve_on_loop(
                RepositoryName(message["repository"]),
                Digest.parse(message["digest"]),
                message["size_bytes"],
            )
        )
        try:
            # An eviction goes on, whatever becomes of the worker that it was for.
            reservation = await asyncio.shield(deciding)
        except asyncio.CancelledError:
            deciding.add_done_callback(_release)
            raise
        if reservation is None:
            return None
        self._reservations += 1
        seat.reservations[self._reservations] = reservation
        return [self._reservations, reservation.granted_bytes]

    async def grow(self, seat: Seat, message: Message) -> int:
        """Make more room; return how much there is in all."""
        reservation = seat.reservations.get(message["number"])
        if reservation is None:
            return 0
        await asyncio.shield(reservation.grow_on_loop(message["size_bytes"]))
        return reservation.granted_bytes

    async def take_turn(self, seat: Seat, name: str) -> None:
        """Wait for a turn."""
        await self._turns.take(name, seat.number)
        if seat.number not in self._seats:
            self._turns.forget(seat.number)

    def give_back(self, seat: Seat, name: str) -> None:
        """End a turn."""
        self._turns.give_back(name, seat.number)

    def take_report(self, seat: Seat, report: Message) -> None:
        """Keep a report, and pass on what it says of quotas that is news."""
        seat.report = report
        news = []
        for budget in report.get("budgets", ()):
            key = tuple(budget["of"])
            known = self._budgets.get(key)
            if known is None or known["seen_at"] < budget["seen_at"]:
                self._budgets[key] = budget
                news.append(budget)
        if news:
            self.tell_all("budgets", but=seat, budgets=news)

    async def _refresh(self, seat: Seat) -> None:
        report = await wait_for(seat.channel.ask("report"), _PATIENCE_SECONDS, None)
        if report:
            self.take_report(seat, report)


def _release(decided: "asyncio.Future[SpaceReservation | None]") -> None:
    """Let go of what nobody is there to use."""
    if not decided.cancelled() and decided.exception() is None:
        reservation = decided.result()
        if reservation is not None:
            reservation.release()


class _Dealings:
    """What one worker says and asks; see Answering."""

    def __init__(self, office: Office, seat: Seat) -> None:
        self._office = office
        self._seat = seat

    def told(self, what: str, message: Message) -> None:
        """Hear."""
        office, seat = self._office, self._seat
        match what:
            case "report":
                office.take_report(seat, message["report"])
            case "release":
                reservation = seat.reservations.pop(message["number"], None)
                if reservation is not None:
                    reservation.release()
            case "turn over":
                office.give_back(seat, message["name"])
            case "forget":
                if office.mirrors is not None:
                    office.mirrors.forget(removals.from_json(message["removed"]))
                office.tell_all("forget", but=seat, removed=message["removed"])
            case "full":
                if office.keeper is not None:
                    office.keeper.note_full()
            case "ready":
                seat.ready.set()

    async def answer(self, what: str, message: Message) -> object:
        """Answer."""
        match what:
            case "reserve":
                return await self._office.reserve(self._seat, message)
            case "room":
                keeper = self._office.keeper
                return keeper is not None and await keeper.has_room(message["size_bytes"])
            case "grow":
                return await self._office.grow(self._seat, message)
            case _:
                await self._office.take_turn(self._seat, message["name"])
                return None
