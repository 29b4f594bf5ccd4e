"""When a sweep looks at the journal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadstead.maintenance.spool import Spool
from roadstead.maintenance.sweep import Sweep
from roadstead.oci.digest import Digest
from roadstead.storage.base import Removal
from roadstead.storage.filesystem import FilesystemStore
from tests.maintenance.volume import APP, Volume


class _Watched(FilesystemStore):
    """A store that knows whether a removal is going on, and is its own mark."""

    active = False
    asked = 0

    @contextmanager
    def removing(self) -> Iterator[Removal]:  # type: ignore[override] # the protocol's type will do
        with super().removing() as removal:
            self.active = True
            yield removal
            self.active = False

    def linked(self) -> set[Digest]:
        assert self.active
        self.asked += 1
        return set()


def test_the_journal_is_read_while_nobody_can_link(tmp_path: Path) -> None:
    """A link is noted before its manifest can be read: what it needs would not be found."""
    volume = Volume(tmp_path)
    digest = volume.blob("garbage", APP)
    store = _Watched(tmp_path)
    with Spool() as links, Spool() as blobs, Spool() as leftovers:
        links.add("layer", APP, str(digest), str(digest))
        blobs.add(str(digest))
        sweep = Sweep(store, store, progress=lambda _done, _total: None, sleep=lambda _: None)
        swept = sweep.run(links, blobs, leftovers)
    assert (swept.layer_links, swept.blobs, store.asked) == (1, 1, 2)
    assert volume.files() == set()
