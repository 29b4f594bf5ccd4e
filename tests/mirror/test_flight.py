"""Flights on their own: what readers see, how many run at once, and what they leave behind."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest

from roadstead.errors import StorageUnavailableError, UpstreamUnavailableError
from roadstead.mirror.flight import NEAR_BYTES, Flight, FlightReader, Flights
from roadstead.mirror.parallel import ParallelTransfers
from roadstead.mirror.pump import Progress, RetryPolicy
from roadstead.oci.digest import Digest
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry import events
from roadstead.telemetry.events import Event, Kind, Observer, Outcome, on_loop
from roadstead.upstream.client import RegistryUpstream
from tests.support.rig import APP, OTHER, make_rig, nowhere, read_all

CONTENT = bytes(range(256)) * 400
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def file(tmp_path: Path) -> BinaryIO:
    """Give a file with content, open for reading; whoever tests the flight closes it."""
    path = tmp_path / "growing"
    path.write_bytes(CONTENT)
    return path.open("rb")


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    """Give a registry."""
    async with ScriptedRegistry() as registry:
        yield registry


class Hangar:
    """Flights over a store and a client of their own."""

    def __init__(
        self, root: Path, client: RegistryUpstream, *, max_transfers: int, shared: bool = False
    ) -> None:
        self.store = FilesystemStore(root, shared=shared)
        self.client = client
        self.lane = ThreadPoolExecutor(max_transfers)
        self.transfers = ParallelTransfers(
            client,
            max_transfers=max_transfers,
            scratch=self.store.scratch_file,
            observe=lambda _event: None,
        )
        self.events: list[Event] = []
        self.flights = Flights(
            self.store,
            observe=on_loop(self.events.append),
            retry=RetryPolicy(attempts=1, first_delay_seconds=0.0),
            shared=shared,
        )

    def start(self, digest: Digest) -> Flight:
        """Start a flight of a blob of APP."""
        return self.flights.start(self.transfers, APP, digest, lane=self.lane)


async def test_a_reader_waits_for_the_file_and_then_for_bytes(file: BinaryIO) -> None:
    """Joining ends when upstream has agreed to send; reading follows what has arrived."""
    flight = Flight(DIGEST, APP)
    joining = asyncio.ensure_future(flight.join(Outcome.MISS, pass_on=nowhere))
    flight.publish(Progress(file=file, size_bytes=len(CONTENT)))
    reader = await joining
    waiting = asyncio.ensure_future(reader.wait_beyond(0))
    await asyncio.sleep(0)
    assert not waiting.done()

    flight.publish(Progress(file=file, size_bytes=len(CONTENT), available=100))

    assert await waiting == 100
    assert await reader.wait_beyond(99) == 100
    assert (reader.size_bytes, reader.outcome, reader.file) == (len(CONTENT), Outcome.MISS, file)
    reader.close()
    flight.end()


async def test_the_end_is_told_by_no_further_bytes(file: BinaryIO) -> None:
    """A complete flight gives its length to whoever waits behind its last byte."""
    flight = Flight(DIGEST, APP)
    size = len(CONTENT)
    flight.publish(Progress(file=file, size_bytes=size, available=size, complete=True))
    reader = await flight.join(Outcome.JOINED, pass_on=nowhere)

    assert await reader.wait_beyond(size) == size
    assert reader.is_near(10**12)

    reader.close()
    flight.end()


async def test_what_has_arrived_is_readable_after_a_failure(file: BinaryIO) -> None:
    """Only the bytes that will never come are an error, for each of the readers."""
    flight = Flight(DIGEST, APP)
    flight.publish(Progress(file=file, available=10))
    readers = [await flight.join(Outcome.JOINED, pass_on=nowhere) for _ in range(3)]
    waiting = [asyncio.ensure_future(reader.wait_beyond(10)) for reader in readers]
    await asyncio.sleep(0)

    error = UpstreamUnavailableError("gone", upstream="test")
    flight.publish(Progress(file=file, available=10, error=error))

    assert await asyncio.gather(*waiting, return_exceptions=True) == [error] * 3
    assert await readers[0].wait_beyond(9) == 10
    for reader in readers:
        reader.close()
    flight.end()


async def test_a_refused_flight_fails_who_joins(file: BinaryIO) -> None:
    """Before the first byte the error is the answer to joining, and no reader is left over."""
    flight = Flight(DIGEST, APP)
    error = UpstreamUnavailableError("no", upstream="test")
    flight.publish(Progress(error=error))

    with pytest.raises(UpstreamUnavailableError):
        await flight.join(Outcome.MISS, pass_on=nowhere)

    assert "0 readers" in repr(flight)
    flight.end()
    file.close()


async def test_the_file_is_closed_by_whoever_is_last(file: BinaryIO) -> None:
    """It stays open until the flight has ended and every reader has closed, once each."""
    flight = Flight(DIGEST, APP)
    flight.publish(Progress(file=file, available=1))
    first, second = [await flight.join(Outcome.JOINED, pass_on=nowhere) for _ in range(2)]

    first.close()
    first.close()
    flight.end()
    assert not file.closed
    second.close()

    assert file.closed


async def test_news_from_a_thread_wakes_every_waiter(file: BinaryIO) -> None:
    """The pump speaks from its thread, often, and the loop hears the last word."""
    flight = Flight(DIGEST, APP)

    def pump() -> None:
        for available in range(1, 1001):
            flight.publish(Progress(file=file, size_bytes=1000, available=available))

    thread = threading.Thread(target=pump)
    thread.start()
    readers = [await flight.join(Outcome.JOINED, pass_on=nowhere) for _ in range(5)]
    positions = await asyncio.gather(*(reader.wait_beyond(999) for reader in readers))
    thread.join()

    assert positions == [1000] * 5
    for reader in readers:
        reader.close()
    flight.end()


async def test_near_is_what_has_arrived_and_a_little_more(file: BinaryIO) -> None:
    """A range behind the flight, or just ahead of it, is worth waiting for."""
    flight = Flight(DIGEST, APP)
    flight.publish(Progress(file=file, available=100))
    reader = await flight.join(Outcome.JOINED, pass_on=nowhere)

    assert reader.is_near(0)
    assert reader.is_near(100 + NEAR_BYTES)
    assert not reader.is_near(101 + NEAR_BYTES)

    reader.close()
    flight.end()


async def test_a_flight_can_be_looked_at(file: BinaryIO) -> None:
    """Its representation says which, how far, for how many and how it went."""
    flight = Flight(DIGEST, APP)
    flight.publish(Progress(file=file, size_bytes=10, available=4))
    reader = await flight.join(Outcome.JOINED, pass_on=nowhere)

    assert repr(flight) == (f"<Flight {DIGEST} 4/10 bytes, 1 readers, complete=False, error=None>")

    reader.close()
    flight.end()


async def test_no_more_transfers_run_than_allowed(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """Further flights wait for their turn, are joined meanwhile, and all arrive."""
    release = asyncio.Event()
    blobs = [upstream.add_blob(APP, CONTENT + bytes([n])) for n in range(6)]
    upstream.inject(faults.Stall(after=100, release=release), kind=RequestKind.BLOB)
    async with RegistryUpstream(upstream.url) as client:
        hangar = Hangar(tmp_path, client, max_transfers=2)
        running = [hangar.start(blob.digest) for blob in blobs]
        first, second = [await flight.join(Outcome.MISS, pass_on=nowhere) for flight in running[:2]]
        await asyncio.gather(first.wait_beyond(99), second.wait_beyond(99))
        queued = [
            asyncio.ensure_future(flight.join(Outcome.MISS, pass_on=nowhere))
            for flight in running[2:]
        ]
        # Upstream has had the time to hear of them: this call went there and back.
        await client.list_tags(APP, limit=None, after=None)

        assert upstream.count(kind=RequestKind.BLOB) == 2
        assert not any(joining.done() for joining in queued)
        release.set()
        readers: list[FlightReader] = [first, second, *await asyncio.gather(*queued)]
        bodies = [await read_all(reader) for reader in readers]
        await hangar.flights.aclose()

    assert [Digest.of(body) for body in bodies] == [blob.digest for blob in blobs]


async def test_a_queued_flight_does_not_hold_up_the_end(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """Stopping ends what runs and what waits; nothing new is asked of upstream."""
    blobs = [upstream.add_blob(APP, CONTENT + bytes([n])) for n in range(3)]
    upstream.inject(faults.Stall(after=100), kind=RequestKind.BLOB)
    async with RegistryUpstream(upstream.url) as client:
        hangar = Hangar(tmp_path, client, max_transfers=1)
        running, *queued = [hangar.start(blob.digest) for blob in blobs]
        reader = await running.join(Outcome.MISS, pass_on=nowhere)
        reader.close()
        waiting = [
            asyncio.ensure_future(flight.join(Outcome.MISS, pass_on=nowhere)) for flight in queued
        ]

        async with asyncio.timeout(20):
            await hangar.flights.aclose()
            failures = await asyncio.gather(*waiting, return_exceptions=True)

    assert upstream.count(kind=RequestKind.BLOB) == 1
    assert all(isinstance(failure, Exception) for failure in failures)


async def test_what_a_worker_beside_has_stored_meanwhile_is_not_asked_for(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """The link that it has made says that the repository has the blob."""
    with closing(FilesystemStore(tmp_path, shared=True).partial_blob(DIGEST)) as partial:
        partial.write(CONTENT)
        partial.commit(frozenset({APP}))
    async with RegistryUpstream(upstream.url) as client:
        hangar = Hangar(tmp_path, client, max_transfers=1, shared=True)
        reader = await hangar.start(DIGEST).join(Outcome.MISS, pass_on=nowhere)

        assert await read_all(reader) == CONTENT
        await hangar.flights.aclose()

    assert upstream.requests == []


async def test_a_mirror_that_stops_starts_nothing(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """A flight that would outlive the process is refused."""
    blob = upstream.add_blob(APP, CONTENT)
    async with RegistryUpstream(upstream.url) as client:
        hangar = Hangar(tmp_path, client, max_transfers=1)
        await hangar.flights.aclose()

        with pytest.raises(StorageUnavailableError):
            hangar.start(blob.digest)

    assert upstream.requests == []


class LateAdmission:
    """Admits another repository after the blob was committed, and before its flight is over."""

    def __init__(self, forward: Observer) -> None:
        self._forward = forward
        self.flight: Flight | None = None
        self.ended = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Act on the two events that frame the gap; the first comes from the pump's thread."""
        if isinstance(event, events.Stored) and event.kind is Kind.BLOB:
            assert self.flight is not None
            self.flight.repositories.add(OTHER)
        self._forward(event)


@pytest.mark.parametrize("in_the_way", [False, True], ids=["can be linked", "cannot be linked"])
async def test_a_late_repository_is_linked_before_the_flight_is_gone(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    caplog: pytest.LogCaptureFixture,
    *,
    in_the_way: bool,
) -> None:
    """Who was admitted during the commit gets a link too; a failure of that is logged."""
    blob = upstream.add_blob(APP, CONTENT)
    store = FilesystemStore(tmp_path)
    if in_the_way:
        obstacle = tmp_path / "docker/registry/v2/repositories" / OTHER
        obstacle.parent.mkdir(parents=True)
        obstacle.write_text("no directory")
    told: list[Event] = []
    ended = asyncio.Event()

    def note(event: Event) -> None:
        told.append(event)
        if isinstance(event, events.FlightEnded):
            ended.set()

    observe = LateAdmission(on_loop(note))
    async with RegistryUpstream(upstream.url) as client:
        flights = Flights(store, observe=observe)
        lane = ThreadPoolExecutor(1)
        transfers = ParallelTransfers(
            client, max_transfers=1, scratch=store.scratch_file, observe=observe
        )
        observe.flight = flights.start(transfers, APP, blob.digest, lane=lane)
        await ended.wait()
        await flights.aclose()
        lane.shutdown()

    assert await store.stat_blob(APP, blob.digest) == len(CONTENT)
    assert await store.stat_blob(OTHER, blob.digest) == (None if in_the_way else len(CONTENT))
    assert ("could not be linked" in caplog.text) is in_the_way


def open_files() -> int:
    """Count the file descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    """After good, broken, refused and abandoned fetches: no file, no socket, no task."""
    before = (open_files(), len(asyncio.all_tasks()))
    async with make_rig(tmp_path) as rig:
        good = [rig.upstream.add_blob(APP, CONTENT + bytes([n])) for n in range(4)]
        broken = rig.upstream.add_blob(APP, b"broken" + CONTENT)
        abandoned = rig.upstream.add_blob(APP, b"abandoned" + CONTENT)
        for digest, fault in (
            (broken.digest, faults.WrongBytes()),
            (abandoned.digest, faults.Stall(after=100)),
        ):
            rig.upstream.inject(fault, kind=RequestKind.BLOB, reference=digest)
        for blob in good * 2:
            await read_all(await rig.mirror.blob(APP, blob.digest))
        reader = await rig.mirror.blob(APP, abandoned.digest)
        reader.close()
        for digest in (broken.digest, Digest.of(b"unknown")):
            with pytest.raises(Exception, match="sha256"):
                await read_all(await rig.mirror.blob(APP, digest))
        inside = open_files()

    assert inside > before[0]
    assert (open_files(), len(asyncio.all_tasks())) == before
