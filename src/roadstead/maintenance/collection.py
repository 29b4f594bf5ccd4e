"""Garbage collection: mark what is needed, and sweep the rest, beside a running mirror.

Marking reads all repositories, one at a time, and looks at all data. What may go is then removed in
short batches, links first, each step looked at again while nobody can link. Links that
were written since marking began are known from the journal: what they lead to is spared.

Memory: the largest repository, 16 to 32 bytes for each distinct piece of data that is needed,
and 1 MiB for each list of what may go.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from roadstead.maintenance.digestset import DigestSet
from roadstead.maintenance.examine import Findings, examine
from roadstead.maintenance.spool import Spool
from roadstead.maintenance.sweep import Sweep, Swept
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import CollectableStore
from roadstead.storage.boundary import storage_errors

GRACE_SECONDS = 3600.0
"""A client that has just been given something may be about to ask for what needs it."""
LEFTOVER_SECONDS = 24 * 3600.0
"""How long nobody has written to an upload or a temporary file that is taken for left behind."""


_KINDS = {"layer": "layer link", "damaged": "damaged link", "tag": "tag that leads nowhere"}
_STEP = 1000


class Stage(StrEnum):
    """What a collection is at."""

    MARKING = "marking repositories"
    LOOKING = "looking at blobs"
    TIDYING = "looking for leftovers"
    SWEEPING = "removing"


Progress = Callable[[Stage, float, float | None], None]
"""How far a stage is: done, and of how much, if that is known."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection has found, and removed unless it was a dry run."""

    marked: int
    blobs: int
    manifests: int
    unreadable: int
    swept: Swept


class Collection:
    """One run of the collector; blocks, for a thread or a process of its own."""

    def __init__(
        self,
        store: CollectableStore,
        *,
        say: Callable[[str], None],
        progress: Progress = lambda _stage, _done, _total: None,
        delete_untagged: bool = False,
        grace_seconds: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``say`` gets distribution's lines, one by one."""
        self._store = store
        self._say = say
        self._progress = progress
        self._delete_untagged = delete_untagged
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._sleep = sleep
        self._marked = DigestSet()
        self._unreadable = 0

    def run(self, *, dry_run: bool = False) -> Collected:
        """Collect, or only say what would go.

        Raises:
            StorageBusyError: another collection of this volume is running.
            StorageError: the volume cannot be read or written; what was removed until then was
                garbage.
        """
        with ExitStack() as stack, storage_errors("collecting garbage"):
            mark = None
            if not dry_run:
                stack.enter_context(self._store.collecting())
                mark = stack.enter_context(self._store.marking())
            links, blobs, leftovers = (stack.enter_context(Spool()) for _ in range(3))
            manifests = self._mark(links)
            if not self._unreadable:
                self._look(blobs)
            self._progress(Stage.TIDYING, 0, None)
            before = self._clock() - LEFTOVER_SECONDS
            for path in self._store.walk.leftovers(before=before):
                leftovers.add(path)
                self._progress(Stage.TIDYING, len(leftovers), None)
            self._tell(links, blobs, leftovers, manifests)
            swept = Swept()
            if mark is not None:
                progress = partial(self._progress, Stage.SWEEPING)
                sweep = Sweep(self._store, mark, progress=progress, sleep=self._sleep)
                swept = sweep.run(links, blobs, leftovers)
        return Collected(
            marked=len(self._marked),
            blobs=len(blobs),
            manifests=manifests,
            unreadable=self._unreadable,
            swept=swept,
        )

    def _mark(self, links: Spool) -> int:
        """Find out what each repository needs; count the manifests that may go."""
        young_since = self._clock() - self._grace_seconds
        manifests = 0
        for number, repository in enumerate(self._store.walk.repositories(), 1):
            self._say(repository)
            try:
                findings = examine(
                    self._store.walk,
                    repository,
                    delete_untagged=self._delete_untagged,
                    young_since=young_since,
                )
            except OSError as error:
                self._unreadable += 1
                self._say(f"{repository}: cannot be read, so no blob is removed: {error.strerror}")
            else:
                self._note(repository, findings, links)
                manifests += len(findings.manifests)
            self._progress(Stage.MARKING, number, None)
        return manifests

    def _note(self, repository: RepositoryName, findings: Findings, links: Spool) -> None:
        for digest, manifest in findings.kept.items():
            self._say(f"{repository}: marking manifest {digest} ")
            self._marked.add(digest)
            for blob in manifest.blobs if manifest is not None else ():
                if self._marked.add(blob.digest):
                    self._say(f"{repository}: marking blob {blob.digest}")
        for digest in findings.data:
            self._marked.add(digest)
        for one in findings.manifests:
            names = " ".join(one.tags)
            text = f"{{{repository} {one.link.digest} [{names}]}}"
            self._say(f"manifest eligible for deletion: {text}")
        for kind, found in (
            ("manifest", [one.link for one in findings.manifests]),
            ("damaged", findings.damaged),
            ("layer", findings.layers),
        ):
            for link in found:
                links.add(kind, repository, str(link.digest), str(link.source or link.digest))
        for tag in findings.tags:
            links.add("tag", repository, tag)

    def _look(self, blobs: Spool) -> None:
        """Look at all data; what nobody needs may go."""
        for number, data in enumerate(self._store.walk.data()):
            if data.digest not in self._marked:
                blobs.add(str(data.digest))
            if number % _STEP == 0:
                self._progress(Stage.LOOKING, int(data.digest.encoded[:2], 16), 256)

    def _tell(self, links: Spool, blobs: Spool, leftovers: Spool, manifests: int) -> None:
        self._say("")
        self._say(
            f"{len(self._marked)} blobs marked, {len(blobs)} blobs and {manifests} manifests "
            "eligible for deletion"
        )
        for (digest,) in blobs:
            self._say(f"blob eligible for deletion: {digest}")
        for kind, repository, name, *_ in links:
            if kind != "manifest":
                self._say(f"{repository}: {_KINDS[kind]} eligible for deletion: {name}")
        for words in leftovers:
            self._say(f"leftover eligible for deletion: {' '.join(words)}")
