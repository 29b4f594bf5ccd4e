"""What goes, in which order, and what never does."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from roadstead.maintenance.plan import Plan, Protection, Usage, Wish
from roadstead.maintenance.planner import Planner, make_plan, take_unneeded
from roadstead.metadata.records import EvictionCandidate, LooseLayer, Orphan, Scope
from roadstead.oci.digest import Digest
from roadstead.telemetry.events import EvictionReason
from tests.maintenance.rows import APP, GHCR, ModelRows, data

NOW = 1_000_000.0
GRACE = 300.0


def _planner(
    *,
    usage: Usage | None = None,
    is_pinned: Callable[[EvictionCandidate], bool] = lambda _: False,
) -> Planner:
    return Planner(
        usage=usage or Usage(), is_pinned=is_pinned, young_since=NOW - GRACE, grace_seconds=GRACE
    )


def _free(size_bytes: int, *, scope: Scope | None = None) -> Wish:
    wish = Wish(EvictionReason.MAXSIZE, free_bytes=size_bytes, must_bytes=size_bytes)
    return wish if scope is None else Wish(wish.reason, scope, size_bytes, size_bytes)


def _digests(plan: Plan) -> list[Digest]:
    return [one.image.digest for one in plan.images]


async def test_the_least_recently_pulled_image_goes_first() -> None:
    """Whenever it was stored; and no more images than needed."""
    rows = ModelRows()
    rows.hold("hot", blobs={"hot-layer": 100}, pulled=500)
    cold = rows.hold("cold", blobs={"cold-layer": 100}, pulled=100)
    rows.hold("warm", blobs={"warm-layer": 100}, pulled=300)
    plan = await make_plan(_planner(), rows, [_free(50)])
    assert _digests(plan) == [cold]
    assert plan.freed_bytes == 101
    assert plan.missing_bytes == 0


async def test_data_that_another_image_needs_stays() -> None:
    """Of two images over one base, the first to go frees its own layer only."""
    rows = ModelRows()
    first = rows.hold("first", blobs={"base": 100, "one": 10}, pulled=1)
    second = rows.hold("second", blobs={"base": 100, "two": 10}, repository=GHCR, pulled=2)
    plan = await make_plan(_planner(), rows, [_free(11)])
    assert (_digests(plan), plan.freed_bytes) == ([first], 11)
    plan = await make_plan(_planner(), rows, [_free(12)])
    assert (_digests(plan), plan.freed_bytes) == ([first, second], 122)


async def test_an_index_goes_with_the_children_that_no_other_index_needs() -> None:
    """A platform that two indexes share goes with the second one."""
    rows = ModelRows()
    shared = rows.hold("shared", blobs={"shared-layer": 100})
    own = rows.hold("own", blobs={"own-layer": 10})
    old = rows.hold("old", children=(shared, own), pulled=1)
    new = rows.hold("new", children=(shared,), pulled=2)
    plan = await make_plan(_planner(), rows, [_free(1)])
    assert (_digests(plan), plan.freed_bytes) == ([old], 12)
    plan = await make_plan(_planner(), rows, [_free(13)])
    assert (_digests(plan), plan.freed_bytes) == ([old, new], 114)


async def test_what_nobody_needs_goes_before_any_image() -> None:
    """Orphans and loose layers are found first, and may be enough."""
    rows = ModelRows()
    rows.hold("image", blobs={"layer": 100}, pulled=1)
    rows.orphaned.append(Orphan(data("orphan"), 60, stored_at=1))
    rows.loose.append(LooseLayer(APP, data("loose"), 40, stored_at=1))
    planner = _planner()
    await take_unneeded(planner, rows)
    plan = await make_plan(planner, rows, [_free(100)])
    assert _digests(plan) == []
    assert [(one.digest, one.freed_bytes) for one in plan.blobs] == [
        (data("orphan"), 60),
        (data("loose"), 40),
    ]


async def test_a_loose_link_goes_and_leaves_data_that_an_image_of_another_repository_needs() -> (
    None
):
    """The link alone is of no use; the data is."""
    rows = ModelRows()
    rows.hold("image", repository=GHCR, blobs={"layer": 100})
    rows.loose.append(LooseLayer(APP, data("layer"), 100, stored_at=1))
    planner = _planner()
    await take_unneeded(planner, rows)
    plan = await make_plan(planner, rows, [])
    assert [(one.repository, one.freed_bytes) for one in plan.blobs] == [(APP, 0)]


async def test_young_orphans_stay() -> None:
    """Their link may be about to be written."""
    rows = ModelRows(orphaned=[Orphan(data("young"), 60, stored_at=NOW - 1)])
    rows.loose.append(LooseLayer(APP, data("loose"), 40, stored_at=NOW - 1))
    planner = _planner()
    await take_unneeded(planner, rows)
    assert (await make_plan(planner, rows, [])).blobs == ()


async def test_protected_images_stay_and_are_counted() -> None:
    """Pinned, in use and young ones; the plan says how much is missing."""
    rows = ModelRows()
    pinned = rows.hold("pinned", blobs={"a": 10}, pulled=1)
    rows.hold("served", blobs={"b": 20}, pulled=2)
    rows.hold("young", blobs={"c": 40}, pulled=NOW - 1)
    planner = _planner(
        usage=Usage(is_in_use={data("b")}.__contains__), is_pinned=lambda one: one.digest == pinned
    )
    plan = await make_plan(planner, rows, [_free(5)])
    assert _digests(plan) == []
    assert plan.missing_bytes == 5
    assert {why: (kept.images, kept.size_bytes) for why, kept in plan.kept.items()} == {
        Protection.PINNED: (1, 11),
        Protection.IN_USE: (1, 21),
        Protection.YOUNG: (1, 41),
    }


async def test_data_that_is_served_protects_only_whoever_would_take_it_along() -> None:
    """A base layer is read all day long; an old image over it may go, the last one may not."""
    rows = ModelRows()
    old = rows.hold("old", blobs={"base": 100, "one": 10}, pulled=1)
    rows.hold("new", blobs={"base": 100, "two": 10}, pulled=2)
    planner = _planner(usage=Usage(is_in_use={data("base")}.__contains__))
    plan = await make_plan(planner, rows, [_free(1000)])
    assert _digests(plan) == [old]


async def test_an_image_that_is_being_pulled_is_not_cut_apart() -> None:
    """Blobs that arrive may be for any image of their repository that was pulled since then."""
    rows = ModelRows()
    before = rows.hold("before", blobs={"a": 1}, pulled=1000)
    rows.hold("pulling", blobs={"b": 1}, pulled=5000)
    planner = _planner(usage=Usage(pulling_since={APP: 5001}))
    plan = await make_plan(planner, rows, [_free(1000)])
    assert _digests(plan) == [before]


async def test_what_is_asked_for_by_hand_may_be_young() -> None:
    """The grace is for what nobody has decided."""
    rows = ModelRows()
    rows.hold("young", blobs={"layer": 10}, pulled=NOW)
    planner = _planner()
    assert planner.take_image(rows.images()[0], EvictionReason.ASKED)


async def test_what_is_too_old_goes_and_no_more() -> None:
    """Age counts from the last pull, for each scope by itself."""
    rows = ModelRows()
    old = rows.hold("old", pulled=100)
    rows.hold("elsewhere", repository=GHCR, pulled=100)
    rows.hold("recent", pulled=300)
    wish = Wish(EvictionReason.MAXAGE, Scope(without=("ghcr.io/",)), pulled_before=200)
    assert _digests(await make_plan(_planner(), rows, [wish])) == [old]


async def test_a_limit_of_one_upstream_takes_its_images_only() -> None:
    """However old those of others are."""
    rows = ModelRows()
    rows.hold("other", blobs={"a": 10}, pulled=1)
    mine = rows.hold("mine", repository=GHCR, blobs={"b": 10}, pulled=2)
    plan = await make_plan(_planner(), rows, [_free(5, scope=Scope("ghcr.io/"))])
    assert _digests(plan) == [mine]


async def test_a_plan_for_one_upstream_stops_early_where_others_need_its_data() -> None:
    """How much leaves such a part can only be measured; so it is, before more goes."""
    rows = ModelRows()
    for number in range(10):
        blobs = {f"layer-{number}": 100}
        rows.hold(f"mine-{number}", repository=GHCR, blobs=blobs, pulled=number)
        rows.hold(f"other-{number}", blobs=blobs, pulled=number)
    plan = await make_plan(_planner(), rows, [_free(150, scope=Scope("ghcr.io/"))])
    assert len(plan.images) == 3
    assert plan.missing_bytes == 0


async def test_nothing_is_taken_twice() -> None:
    """Two wishes for the same images are fulfilled together."""
    rows = ModelRows()
    rows.hold("old", blobs={"layer": 100}, pulled=1)
    rows.hold("new", blobs={"other": 100}, pulled=2)
    age = Wish(EvictionReason.MAXAGE, pulled_before=2)
    plan = await make_plan(_planner(), rows, [age, _free(101), _free(50)])
    assert [one.reason for one in plan.images] == [EvictionReason.MAXAGE]


@st.composite
def held(draw: st.DrawFn) -> ModelRows:
    """Hold some images, of which many share layers, platforms and pull times."""
    rows = ModelRows()
    layers = {f"layer-{number}": draw(st.integers(1, 50)) for number in range(6)}
    for repository in (APP, GHCR):
        leaves = []
        for number in range(draw(st.integers(0, 4))):
            chosen = draw(st.sets(st.sampled_from(sorted(layers)), max_size=3))
            leaves.append(
                rows.hold(
                    f"{repository} leaf {number}",
                    repository=repository,
                    blobs={name: layers[name] for name in chosen},
                    pulled=draw(st.integers(0, 5)),
                )
            )
        for number in range(draw(st.integers(0, 3)) if leaves else 0):
            children = draw(st.sets(st.sampled_from(leaves), min_size=1))
            rows.hold(
                f"{repository} index {number}",
                repository=repository,
                children=tuple(sorted(children, key=str)),
                pulled=draw(st.integers(0, 5)),
            )
    return rows


@given(rows=held(), goal=st.integers(0, 400), data_=st.data())
async def test_a_plan_reaches_its_goal_or_leaves_only_what_is_protected(
    rows: ModelRows, goal: int, data_: st.DataObject
) -> None:
    """No kept image loses data, the order is by last pull, and what is counted is what goes."""
    pinned = data_.draw(st.sets(st.sampled_from([data("none"), *(d for _, d in rows.manifests)])))
    planner = _planner(is_pinned=lambda one: one.digest in pinned)
    plan = await make_plan(planner, rows, [_free(goal)])

    images = rows.images()
    gone = [one.image for one in plan.images]
    left = rows.without(gone)
    assert plan.freed_bytes == sum(rows.sizes.values()) - sum(left.sizes.values())
    assert not {one.digest for one in gone} & pinned
    kept = [one for one in images if one not in gone and one.digest not in pinned]
    assert plan.freed_bytes >= goal or not kept
    assert plan.missing_bytes == max(0, goal - plan.freed_bytes)
    if gone and kept:
        assert max(one.last_pull for one in gone) <= min(one.last_pull for one in kept)
    assert not gone or plan.freed_bytes - plan.images[-1].freed_bytes < goal
