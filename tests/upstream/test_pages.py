"""Pages of tags, from registries that page and from those that do not."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.upstream.base import TagPage
from roadstead.upstream.pages import read_tags
from roadstead.upstream.transport import Answer

_TAGS = st.lists(st.text(string.ascii_letters + string.digits, min_size=1), unique=True)


def _answer(tags: list[str], *, link: str | None = None) -> Answer:
    return Answer(
        status=200,
        headers={"Content-Type": "application/json"} | ({} if link is None else {"Link": link}),
        challenges=[],
        body=json.dumps({"name": "library/app", "tags": tags}).encode(),
        url="http://127.0.0.1:1/v2/library/app/tags/list",
        redirected=False,
        authorization=None,
    )


@given(tags=_TAGS, limit=st.integers(1, 5))
def test_a_registry_that_ignores_paging_is_walked_once_in_order(
    tags: list[str], limit: int
) -> None:
    """However it lists, pages are in byte order, miss nothing and end."""
    found: list[str] = []
    after = None
    more = True
    while more:
        page = read_tags(_answer(tags), limit=limit, after=after)
        assert page is not None
        found += page.tags
        more, after = page.has_more, page.tags[-1] if page.tags else None
    assert found == sorted(tags)


@pytest.mark.parametrize(
    ("after", "left"), [("0", ["a", "c"]), ("b", ["c"]), ("z", [])], ids=["before", "in", "behind"]
)
def test_the_tag_to_begin_behind_need_not_exist(after: str, left: list[str]) -> None:
    """A tag that was deleted meanwhile does not begin the list again."""
    assert read_tags(_answer(["c", "a"]), limit=None, after=after) == TagPage(left, has_more=False)


def test_a_page_keeps_the_order_of_a_registry_that_pages() -> None:
    """Case-insensitive order is allowed, and going on from the last tag needs it unchanged."""
    following = '</v2/library/app/tags/list?last=C&n=2>; rel="next"'
    page = read_tags(_answer(["b", "C"], link=following), limit=2, after="a")
    assert page == TagPage(["b", "C"], has_more=True)


def test_an_upper_case_tag_behind_a_lower_case_one_is_kept() -> None:
    """The last page of a case-insensitive registry loses nothing."""
    assert read_tags(_answer(["C"]), limit=2, after="b") == TagPage(["C"], has_more=False)
