"""Random histories of a whole mirror: whatever happens in whatever order, nothing is lost."""

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from roadstead.errors import StorageUnavailableError, UnknownContentError
from roadstead.maintenance.limits import Limits, MinFree, RetentionRules
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator.content import SimulatedImage, SimulatedIndex
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.maintenance.limited import LimitedMirror, Lives, limited_mirror
from tests.support.clock import Clock
from tests.support.rig import read_all

KIB = 1024
LIMIT = 60 * KIB
GRACE = 10.0
MAX_AGE = 7200.0
REPOSITORIES = (RepositoryName("library/app"), RepositoryName("library/other"))
TAGS = (Tag("latest"), Tag("1.0"))
LAYERS = tuple(bytes([number]) * (2 + 3 * number) * KIB for number in range(6))
Image = SimulatedImage | SimulatedIndex

repositories = st.sampled_from(REPOSITORIES)
tags = st.sampled_from(TAGS)
layers = st.sets(st.sampled_from(range(len(LAYERS))), min_size=1, max_size=3)


class History(RuleBasedStateMachine):
    """A mirror beside a plain model of what it must hold."""

    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._directory = Path(tempfile.mkdtemp(prefix="roadstead-history-"))
        self._lives = Lives(self._directory)
        self._clock = Clock(time.time())
        self._upstream: ScriptedRegistry | None = None
        self._mirror: LimitedMirror | None = None
        self._process = AsyncExitStack()
        self.published: dict[tuple[RepositoryName, Tag], list[Image]] = {}
        self.whole: dict[tuple[RepositoryName, Digest], frozenset[Digest]] = {}
        """Images that were held to the last blob, with their manifests and blobs."""
        self.pinned: set[RepositoryName] = set()

    @property
    def mirror(self) -> LimitedMirror:
        """The running process."""
        assert self._mirror is not None
        return self._mirror

    @property
    def upstream(self) -> ScriptedRegistry:
        """The registry behind it."""
        assert self._upstream is not None
        return self._upstream

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """Do one step."""
        type(self).steps += 1
        return self._runner.run(self._settled(work))

    @initialize()
    def begin(self) -> None:
        """Start upstream and mirror; every tag points at something."""
        self._upstream = ScriptedRegistry()
        self._runner.run(self._upstream.start())
        for number, repository in enumerate(REPOSITORIES):
            for tag in TAGS:
                self.move_tag(repository, tag, {number, len(tag) % 3}, index=False)
        self._runner.run(self._start())

    @rule(repository=repositories, tag=tags, chosen=layers, index=st.booleans())
    def move_tag(
        self, repository: RepositoryName, tag: Tag, chosen: set[int], *, index: bool
    ) -> None:
        """Publish something else upstream, of layers that others share."""
        content = [LAYERS[number] for number in sorted(chosen)]
        image: Image
        if index:
            images = [
                self.upstream.add_image(repository, platform="linux/amd64", layers=content),
                self.upstream.add_image(repository, platform="linux/arm64", layers=content[:1]),
            ]
            image = self.upstream.add_index(repository, tag=tag, images=images)
        else:
            image = self.upstream.add_image(repository, tag=tag, layers=content)
        self.published.setdefault((repository, tag), []).append(image)

    @rule(repository=repositories, tag=tags)
    def pull(self, repository: RepositoryName, tag: Tag) -> None:
        """Whatever happened before, a pull succeeds, byte for byte."""
        self.run(self._pull(repository, tag))

    @rule(seconds=st.sampled_from([1.0, GRACE + 1, 3600.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.advance(seconds)

    @rule(repository=repositories)
    def pin(self, repository: RepositoryName) -> None:
        """From now on its images stay."""
        self.run(self.mirror.steering.pin(repository, by="test", dry_run=False))
        self.pinned.add(repository)

    @rule(repository=repositories)
    def unpin(self, repository: RepositoryName) -> None:
        """They may go again."""
        self.run(self.mirror.steering.unpin(repository, dry_run=False))
        self.pinned.discard(repository)

    @rule(repository=repositories)
    def evict(self, repository: RepositoryName) -> None:
        """Nothing of it is left, unless it is pinned."""
        self.run(self.mirror.steering.evict([repository], dry_run=False))
        if repository not in self.pinned:
            held = self.run(self.mirror.store.list_manifests(repository))
            assert held == []

    @rule()
    def retain(self) -> None:
        """What nobody has pulled for long goes, and what nothing needs."""
        self.run(self.mirror.retention.run("schedule"))
        self._clock.advance(GRACE + 1)
        self.run(self.mirror.retention.run("schedule"))
        assert self._orphans() == set()

    @rule()
    def collect(self) -> None:
        """What nothing needs goes."""
        self.run(asyncio.to_thread(self.mirror.collect))
        self.mirror.rig.mirrors.forget_all()
        assert self._orphans() == set()

    @rule(repository=repositories, tag=tags, by_digest=st.booleans())
    def delete(self, repository: RepositoryName, tag: Tag, *, by_digest: bool) -> None:
        """A client deletes a tag, or what it points at."""
        held = self.run(self.mirror.store.resolve_tag(repository, tag))
        reference = held.digest if held is not None and by_digest else tag
        with suppress(UnknownContentError):
            self.run(self.mirror.deletions.manifest(repository, reference))
        if isinstance(reference, Digest):
            self.whole.pop((repository, reference), None)

    @rule()
    def restart(self) -> None:
        """Stop and start."""
        self.run(self._process.aclose())
        self.run(self._start())

    @rule()
    def crash(self) -> None:
        """Die, and come back."""
        self.run(self._crash())

    @rule(removals=st.integers(0, 8), by_hand=st.booleans())
    def crash_while_evicting(self, removals: int, *, by_hand: bool) -> None:
        """Die between two removals of an eviction."""
        self._clock.advance(GRACE + 1)
        self.mirror.fuse.left = removals
        with suppress(StorageUnavailableError):
            if by_hand:
                self.run(self.mirror.steering.evict(["library/**"], dry_run=False))
            else:
                self._clock.advance(MAX_AGE)
                self.run(self.mirror.retention.run("schedule"))
        self.run(self._crash())

    @invariant()
    def what_is_held_is_whole_and_within_its_limit(self) -> None:
        """No reachable blob is missing or wrong, no pinned image is gone, the limit holds."""
        if self._mirror is None:
            return
        assert self._data_bytes() <= LIMIT
        for (repository, digest), needs in list(self.whole.items()):
            if self._runner.run(self.mirror.store.has_manifest(repository, digest)):
                for need in needs:
                    self._check(repository, need)
            else:
                assert repository not in self.pinned, "a pinned image is gone"
                del self.whole[repository, digest]

    def teardown(self) -> None:
        """Stop all of it."""
        self._runner.run(self._process.aclose())
        if self._upstream is not None:
            self._runner.run(self._upstream.stop())
        self._runner.close()
        shutil.rmtree(self._directory)

    async def _settled(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as run
        """Leave nothing under way: what is done beside the next step would differ each time."""
        try:
            return await work
        finally:
            await self.mirror.settled()

    async def _start(self) -> None:
        rules = RetentionRules(
            everything=Limits(LIMIT, MAX_AGE),
            min_free=MinFree(size_bytes=0),
            grace_seconds=GRACE,
        )
        self._mirror = await self._process.enter_async_context(
            limited_mirror(self._lives.root, upstream=self.upstream, clock=self._clock, rules=rules)
        )

    async def _crash(self) -> None:
        before = self._lives.after_death()
        self.mirror.fuse.left = None
        await self._process.aclose()
        shutil.rmtree(before, ignore_errors=True)
        await self._start()

    async def _pull(self, repository: RepositoryName, tag: Tag) -> None:
        mirror = self.mirror.rig.mirror
        served = await mirror.manifest(repository, tag)
        digest = served.descriptor.digest
        image = next(
            one for one in self.published[repository, tag] if one.manifest_digest == digest
        )
        assert served.content == image.content
        needs = {digest}
        platforms = image.images if isinstance(image, SimulatedIndex) else (image,)
        for platform in platforms:
            child = await mirror.manifest(repository, platform.manifest_digest)
            assert child.content == platform.content
            needs.add(platform.manifest_digest)
            for blob in platform.blobs:
                content = await read_all(await mirror.blob(repository, blob.digest))
                await self.mirror.settled()
                assert Digest.of(content) == blob.digest
                needs.add(blob.digest)
        # What found no room was passed through, and is not expected to be there.
        if all(self._is_held(repository, need) for need in needs):
            self.whole[repository, digest] = frozenset(needs)

    def _is_held(self, repository: RepositoryName, digest: Digest) -> bool:
        base = self._lives.root / f"docker/registry/v2/repositories/{repository}"
        tail = f"sha256/{digest.encoded}/link"
        is_linked = (base / "_layers" / tail).exists() or (
            base / "_manifests/revisions" / tail
        ).exists()
        return is_linked and self._data(digest).exists()

    def _check(self, repository: RepositoryName, digest: Digest) -> None:
        assert self._is_held(repository, digest), f"{digest} is missing in {repository}"
        assert hashlib.sha256(self._data(digest).read_bytes()).hexdigest() == digest.encoded

    def _data(self, digest: Digest) -> Path:
        hexadecimal = digest.encoded
        blobs = self._lives.root / "docker/registry/v2/blobs/sha256"
        return blobs / hexadecimal[:2] / hexadecimal / "data"

    def _data_bytes(self) -> int:
        blobs = self._lives.root.glob("docker/registry/v2/blobs/*/*/*/data")
        partials = self._lives.root.glob("roadstead/partial/*/*/*")
        return sum(path.stat().st_size for path in (*blobs, *partials))

    def _orphans(self) -> set[str]:
        """Return the data on disk that no manifest with a link needs."""
        root = self._lives.root / "docker/registry/v2"
        links = root.glob("repositories/library/*/_manifests/revisions/*/*/link")
        needed = set()
        for link in links:
            digest = link.read_text()
            needed.add(digest)
            with suppress(FileNotFoundError):
                document = json.loads(self._data(Digest.parse(digest)).read_bytes())
                parts = [document.get("config"), *document.get("layers", ())]
                needed |= {part["digest"] for part in parts if part}
        data = root.glob("blobs/*/*/*/data")
        return {f"{path.parts[-4]}:{path.parts[-2]}" for path in data} - needed


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # The same histories each time; ROADSTEAD_EXPLORE looks at others.
            derandomize="ROADSTEAD_EXPLORE" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_is_lost_in_a_short_history() -> None:
    """Pulls, tag moves, pins, evictions, collections, deletions, crashes, restarts."""
    _run(examples=4, steps=15)


@pytest.mark.scale
@pytest.mark.timeout(1800)
def test_nothing_is_lost_in_long_histories(figures: Figures) -> None:
    """The same, for longer."""
    before = History.steps
    _run(examples=40, steps=40)
    figures.add(f"{History.steps - before} steps of random histories")
