"""The rule of what stays, and mark and sweep as a whole, against plain models."""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadstead.maintenance.reachability import TagPointers, kept_manifests
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import Manifest
from roadstead.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from roadstead.oci.reference import RepositoryName
from tests.maintenance.volume import JUST_NOW, LONG_AGO, Volume

_MOST = 7


@dataclass
class Plan:
    """Manifests by number, each pointing at lower ones, and tags with what they pointed at."""

    children: list[set[int]] = field(default_factory=list)
    subjects: list[int | None] = field(default_factory=list)
    layers: list[set[int]] = field(default_factory=list)
    young: set[int] = field(default_factory=set)
    tags: list[list[int]] = field(default_factory=list)
    extra: list[tuple[int, bool]] = field(default_factory=list)

    def staying(self) -> set[int]:
        """Say which manifests stay, straight from the words of the rule."""
        everything = set(range(len(self.children)))
        current = {tag[-1] for tag in self.tags}
        left = self._attached({one for tag in self.tags for one in tag} - current)
        return self._attached(everything - left | current | self.young)

    def _attached(self, some: set[int]) -> set[int]:
        """Add what is contained in, or refers to, one of these, until there is no more."""
        while True:
            more = some.union(*(self.children[one] for one in some))
            more |= {one for one, subject in enumerate(self.subjects) if subject in more}
            if more == some:
                return some
            some = more


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a repository."""
    plan = Plan()
    size = draw(st.integers(0, _MOST))
    for number in range(size):
        lower = st.sets(st.integers(0, number - 1), max_size=3) if number else st.just(set())
        plan.children.append(draw(lower) if draw(st.booleans()) else set())
        subject = draw(st.integers(0, number - 1)) if number and draw(st.booleans()) else None
        plan.subjects.append(subject)
        layers = st.sets(st.integers(0, 5), max_size=3)
        plan.layers.append(draw(layers) if not plan.children[-1] else set())
        if draw(st.integers(0, 9)) == 0:
            plan.young.add(number)
    if size:
        numbers = st.lists(st.integers(0, size - 1), min_size=1, max_size=3)
        plan.tags = draw(st.lists(numbers, max_size=3))
    plan.extra = draw(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=4))
    return plan


def _digest(number: int) -> Digest:
    return Digest.of(str(number).encode())


def _manifests(plan: Plan) -> dict[Digest, Manifest | None]:
    def point(number: int) -> Descriptor:
        return Descriptor("", _digest(number), 0)

    return {
        _digest(number): Manifest(
            OCI_INDEX if children else OCI_MANIFEST,
            children=tuple(map(point, children)),
            subject=point(subject) if subject is not None else None,
        )
        for number, (children, subject) in enumerate(zip(plan.children, plan.subjects, strict=True))
    }


def _tags(plan: Plan) -> list[TagPointers]:
    return [TagPointers(_digest(tag[-1]), frozenset(map(_digest, tag))) for tag in plan.tags]


@given(plans())
def test_the_rule_is_as_it_is_worded(plan: Plan) -> None:
    """What is kept is what the documented words keep, for any repository."""
    kept = kept_manifests(
        _manifests(plan),
        _tags(plan),
        delete_untagged=True,
        young=set(map(_digest, plan.young)),
    )
    assert kept == set(map(_digest, plan.staying()))


@given(plans())
def test_without_the_flag_all_stays(plan: Plan) -> None:
    """Every held manifest is kept."""
    manifests = _manifests(plan)
    assert kept_manifests(manifests, _tags(plan), delete_untagged=False) == set(manifests)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(plans(), max_size=3), st.booleans(), st.lists(st.integers(0, 8), max_size=3))
def test_a_sweep_leaves_what_is_needed_and_nothing_else(
    repositories: list[Plan],
    delete_untagged: bool,  # noqa: FBT001 - drawn by position
    orphans: list[int],
) -> None:
    """On a volume of several repositories exactly the links and data of the model are left."""
    with TemporaryDirectory() as folder:
        volume = Volume(Path(folder))
        expected: dict[RepositoryName, tuple[set[Digest], set[Digest]]] = {}
        for number, plan in enumerate(repositories):
            name = RepositoryName(f"some/app{number}")
            expected[name] = _lay_out(volume, name, plan, delete_untagged=delete_untagged)
        for orphan in orphans:
            volume.blob(f"layer {orphan}")

        volume.collect(delete_untagged=delete_untagged)

        needed = set[Digest]()
        for name, (manifests, layers) in expected.items():
            assert volume.revisions(name) == manifests
            assert volume.layers(name) == layers
            needed |= manifests | layers
        assert volume.data() == needed
        before = volume.files()
        volume.collect(delete_untagged=delete_untagged)
        assert volume.files() == before


def _lay_out(
    volume: Volume, name: RepositoryName, plan: Plan, *, delete_untagged: bool
) -> tuple[set[Digest], set[Digest]]:
    """Write a repository; return the manifests and the layers that should stay."""
    made: list[Digest] = []
    unique = count()
    for number, (children, subject) in enumerate(zip(plan.children, plan.subjects, strict=True)):
        at = JUST_NOW if number in plan.young else LONG_AGO
        note = f"{name} {next(unique)}"
        layers = [volume.blob(f"layer {layer}", name) for layer in sorted(plan.layers[number])]
        document = _document(made, children, subject, layers, note)
        made.append(volume.manifest(document, name=name, at=at))
    for index, tag in enumerate(plan.tags):
        volume.tag(f"tag{index}", *(made[number] for number in tag), name=name)
    stay = plan.staying() if delete_untagged else set(range(len(made)))
    needed = {layer for number in stay for layer in plan.layers[number]}
    for layer, is_young in plan.extra:
        volume.blob(f"layer {layer}", name, at=JUST_NOW if is_young else LONG_AGO)
    needed |= _young_layers(plan)
    return (
        {made[number] for number in stay},
        {Digest.of(f"layer {layer}".encode()) for layer in needed},
    )


def _young_layers(plan: Plan) -> set[int]:
    """Return the layers whose link was touched just now; the last touch counts."""
    last = dict(plan.extra)
    return {layer for layer, is_young in last.items() if is_young}


def _document(
    made: list[Digest],
    children: Collection[int],
    subject: int | None,
    layers: Collection[Digest],
    note: str,
) -> dict[str, object]:
    document: dict[str, object] = {"schemaVersion": 2, "annotations": {"note": note}}
    if children:
        document |= {
            "mediaType": OCI_INDEX,
            "manifests": [{"digest": str(made[child])} for child in children],
        }
    else:
        document |= {
            "mediaType": OCI_MANIFEST,
            "layers": [{"digest": str(layer)} for layer in layers],
        }
    if subject is not None:
        document["subject"] = {"digest": str(made[subject])}
    return document
