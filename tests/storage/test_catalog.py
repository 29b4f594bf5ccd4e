"""The walk over repositories and tags."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.catalog import list_repositories, list_tags
from roadstead.storage.layout import Layout
from tests.support.strategies import repositories
from tests.support.volumes import put

ALPINE = RepositoryName("library/alpine")
LINK = str(Digest.of(b"")).encode()


def _layout(root: Path, names: list[str], kind: str = "_layers") -> Layout:
    layout = Layout(root)
    for name in names:
        (layout.repositories / name / kind).mkdir(parents=True)
    return layout


@settings(max_examples=50)
@given(
    held=st.sets(repositories(), max_size=12),
    after=st.none() | repositories() | st.text("ab-_/.", max_size=6),
    limit=st.integers(0, 6),
)
def test_the_walk_agrees_with_a_plain_sort(
    held: set[RepositoryName], after: str | None, limit: int
) -> None:
    """A page is what sorting all names by their components and cutting gives."""
    with TemporaryDirectory() as root:
        layout = _layout(Path(root), sorted(held))
        everything = sorted(held, key=lambda name: name.split("/"))
        behind = [
            name for name in everything if after is None or name.split("/") > after.split("/")
        ]
        assert list_repositories(layout, after=after, limit=limit) == behind[:limit]


@settings(max_examples=30)
@given(held=st.sets(repositories(), max_size=12), size=st.integers(1, 4))
def test_pages_add_up(held: set[RepositoryName], size: int) -> None:
    """Following the last name of each page gives every name once."""
    with TemporaryDirectory() as root:
        layout = _layout(Path(root), sorted(held))
        pages: list[RepositoryName] = []
        while page := list_repositories(layout, after=pages[-1] if pages else None, limit=size):
            pages += page
        assert sorted(pages) == sorted(held)
        assert len(pages) == len(held)


@pytest.mark.parametrize("kind", ["_layers", "_manifests"])
def test_either_mark_makes_a_repository(tmp_path: Path, kind: str) -> None:
    """What 2.8 lists and what 3.x lists is listed."""
    layout = _layout(tmp_path, ["a"], kind)
    assert list_repositories(layout, after=None, limit=9) == ["a"]


def test_what_is_no_repository_is_not_listed(tmp_path: Path) -> None:
    """Other directories, names outside the grammar and stray files do not show."""
    layout = _layout(tmp_path, ["held", "lost+found", "Capital", "a..b"])
    (layout.repositories / "uploading/_uploads").mkdir(parents=True)
    (layout.repositories / "_layers/inner/_layers").mkdir(parents=True)
    put(layout.repositories / "file", b"")
    put(layout.repositories / "marked/_layers", b"")
    assert list_repositories(layout, after=None, limit=9) == ["held"]


def test_a_circle_of_directories_ends(tmp_path: Path) -> None:
    """A symbolic link to a parent gives longer names, until they are too long for names."""
    layout = _layout(tmp_path, ["a"])
    (layout.repositories / "a/again").symlink_to(layout.repositories / "a")
    names = list_repositories(layout, after=None, limit=1000)
    assert names[:2] == ["a", "a/again"]
    assert max(map(len, names)) <= 255


_listed: list[str] = []
_recording = False


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if _recording and event == "os.scandir":
        _listed.append(str(arguments[0]))


@contextmanager
def _directories_listed() -> Iterator[list[str]]:
    """Give the directories that the process lists in the meantime."""
    global _recording  # noqa: PLW0603 - an audit hook can be added once and never removed
    _listed.clear()
    _recording = True
    try:
        yield _listed
    finally:
        _recording = False


sys.addaudithook(_record)


def test_a_page_costs_no_more_than_its_own_part(tmp_path: Path) -> None:
    """Neither what lies before ``after`` nor what lies behind the page is walked."""
    layout = _layout(tmp_path, ["a/x/y", "b/x", "b/y", "c/x/y", "d/x"])
    with _directories_listed() as listed:
        assert list_repositories(layout, after="b/x", limit=2) == ["b/y", "c/x/y"]
    base = layout.repositories
    inner = {str(Path(path).relative_to(base)) for path in listed}
    assert {"b", "b/y", "c", "c/x/y"} <= inner
    assert not inner & {"a", "a/x", "a/x/y", "d", "d/x"}


def test_only_whole_tags_are_listed(tmp_path: Path) -> None:
    """A tag without a current link, or with a damaged one, is not there."""
    layout = Layout(tmp_path)
    put(layout.tag_current_link(ALPINE, Tag("whole")), LINK)
    put(layout.tag_current_link(ALPINE, Tag("damaged")), b"")
    put(layout.tag_index_link(ALPINE, Tag("without-current"), Digest.of(b"")), LINK)
    put(layout.tags(ALPINE) / "wrong name/current/link", LINK)
    put(layout.tags(ALPINE) / "link.1234.tmp", LINK)
    assert list_tags(layout, ALPINE) == ["whole"]
