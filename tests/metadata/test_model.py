"""Random histories: whatever was recorded and forgotten, the database says what is so."""

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from roadstead.metadata import candidates, flushing, lists, recording
from roadstead.metadata.buffers import NotedPulls
from roadstead.metadata.records import EVERYTHING, EvictionCandidate, Scope
from roadstead.metadata.schema import metadata, state
from roadstead.oci.reference import RepositoryName, Tag
from tests.metadata.model import BLOBS, DOCUMENTS, NAMES, Model, digest_of, order, size_of

REPOSITORIES = ("a", "a/b", "a-b")
TAGS = ("latest", "1.0")

Step = Callable[[Model, sa.Connection, float], None]


def record_manifest(repository: str, name: str) -> Step:
    """Hold a manifest."""

    def step(model: Model, connection: sa.Connection, at: float) -> None:
        recording.record_manifest(connection, model.record_manifest(repository, name, at))

    return step


def forget_manifest(repository: str, name: str) -> Step:
    """Do not hold a manifest any more."""

    def step(model: Model, connection: sa.Connection, _at: float) -> None:
        model.manifests.pop((repository, name), None)
        recording.forget_manifest(connection, RepositoryName(repository), digest_of(name))

    return step


def record_layer(repository: str, name: str, *, held: bool) -> Step:
    """Link a layer whose data is there, or is not."""

    def step(model: Model, connection: sa.Connection, at: float) -> None:
        model.layers[repository, name] = at
        if held:
            model.data[name] = at
        size = size_of(name) if held else None
        recording.record_layer(connection, RepositoryName(repository), digest_of(name), size, at)

    return step


def forget_layer(repository: str, name: str) -> Step:
    """Link a layer no more."""

    def step(model: Model, connection: sa.Connection, _at: float) -> None:
        model.layers.pop((repository, name), None)
        recording.forget_layer(connection, RepositoryName(repository), digest_of(name))

    return step


def record_tag(repository: str, tag: str, name: str) -> Step:
    """Let a tag point at a manifest, held or not."""

    def step(model: Model, connection: sa.Connection, at: float) -> None:
        model.tags[repository, tag] = name
        recording.record_tag(connection, RepositoryName(repository), Tag(tag), digest_of(name), at)

    return step


def forget_tag(repository: str, tag: str) -> Step:
    """Remove a tag."""

    def step(model: Model, connection: sa.Connection, _at: float) -> None:
        model.tags.pop((repository, tag), None)
        recording.forget_tag(connection, RepositoryName(repository), Tag(tag))

    return step


def record_data(name: str) -> Step:
    """Hold data that nobody has linked yet."""

    def step(model: Model, connection: sa.Connection, at: float) -> None:
        model.data[name] = at
        recording.held_content(connection, digest_of(name), size_of(name), at)

    return step


def forget_data(name: str) -> Step:
    """Hold data no more."""

    def step(model: Model, connection: sa.Connection, _at: float) -> None:
        model.data.pop(name, None)
        recording.forget_data(connection, digest_of(name))

    return step


def pull(pairs: list[tuple[str, str]]) -> Step:
    """Write the pulls of several manifests at once."""

    def step(model: Model, connection: sa.Connection, at: float) -> None:
        noted = {}
        for number, (repository, name) in enumerate(pairs):
            model.pull(repository, name, at + number / 100)
            key = RepositoryName(repository), digest_of(name)
            noted[key] = NotedPulls(at + number / 100, 1)
        flushing.write_pulls(connection, noted)

    return step


_repositories = st.sampled_from(REPOSITORIES)
_manifests = st.sampled_from(sorted(DOCUMENTS))
_blobs = st.sampled_from(BLOBS)
_tags = st.sampled_from(TAGS)
_contents = st.sampled_from(sorted(NAMES.values()))
_pairs = st.lists(st.tuples(_repositories, _manifests), unique=True, max_size=4)
steps = st.one_of(
    st.builds(record_manifest, _repositories, _manifests),
    st.builds(record_manifest, st.just("a"), _manifests),
    st.builds(forget_manifest, _repositories, _manifests),
    st.builds(record_layer, _repositories, _blobs, held=st.booleans()),
    st.builds(forget_layer, _repositories, _blobs),
    st.builds(record_tag, _repositories, _tags, _manifests),
    st.builds(forget_tag, _repositories, _tags),
    st.builds(record_data, _contents),
    st.builds(forget_data, _contents),
    st.builds(pull, _pairs),
)


def settled(candidate: EvictionCandidate) -> EvictionCandidate:
    """Put members and blobs into an order of their own; the top must have been first."""
    assert candidate.members[0].digest == candidate.digest
    assert all(
        member.blobs[0] == member.digest
        for member in candidate.members
        if member.digest in member.blobs
    )
    members = (
        replace(member, blobs=tuple(sorted(member.blobs, key=str))) for member in candidate.members
    )
    return replace(
        candidate,
        members=tuple(sorted(members, key=lambda member: str(member.digest))),
        blobs=tuple(sorted(candidate.blobs, key=lambda blob: str(blob.digest))),
    )


def all_candidates(connection: sa.Connection, *, limit: int) -> list[EvictionCandidate]:
    """Read the images in pages of ``limit``."""
    until = candidates.latest_pull(connection)
    found: list[EvictionCandidate] = []
    after: candidates.Cursor | None = None
    while True:
        page, after = candidates.candidates(
            connection, EVERYTHING, after=after, until=until, limit=limit, shared={}
        )
        found += page
        if after is None:
            return found


def check(model: Model, connection: sa.Connection) -> None:
    """Compare all that the database says with the model."""
    found = all_candidates(connection, limit=2)
    assert [one.last_pull for one in found] == sorted(one.last_pull for one in found)
    assert sorted(map(settled, found), key=order) == model.candidates()
    orphans, _ = candidates.orphans(connection, after=0, limit=100)
    assert set(orphans) == model.orphans()
    loose, _ = candidates.loose_layers(connection, EVERYTHING, after=(0, 0), limit=100)
    assert set(loose) == model.loose_layers()
    assert lists.list_repositories(connection, after=None, limit=10) == model.repositories()
    assert lists.used_bytes(connection, EVERYTHING) == model.used_bytes()
    assert lists.used_bytes(connection, Scope("a/")) == model.used_bytes("a/")
    for name in NAMES.values():
        if name in model.data:
            assert candidates.holders_of(connection, digest_of(name)) == model.holders(name)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_the_database_says_what_is_so(history: list[Step]) -> None:
    """After any history of records, forgets and pulls it agrees with a model of sets."""
    engine = sa.create_engine("sqlite://")
    model = Model()
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
            row = {"id": 1, "held_bytes": 0, "is_whole": True, "written_at": 0, "closed_as": ""}
            connection.execute(sa.insert(state), row)
            for number, step in enumerate(history):
                step(model, connection, 100.0 + number)
            check(model, connection)
    finally:
        engine.dispose()


@settings(max_examples=20, deadline=None)
@given(st.lists(steps, max_size=40))
def test_nothing_stays_of_what_was_forgotten(history: list[Step]) -> None:
    """When all links and data are forgotten, no row is left but the state's."""
    engine = sa.create_engine("sqlite://")
    model = Model()
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
            row = {"id": 1, "held_bytes": 0, "is_whole": True, "written_at": 0, "closed_as": ""}
            connection.execute(sa.insert(state), row)
            for number, step in enumerate(history):
                step(model, connection, 100.0 + number)
            for of, tag in list(model.tags):
                forget_tag(of, tag)(model, connection, 0)
            for of, name in list(model.manifests):
                forget_manifest(of, name)(model, connection, 0)
            for of, name in list(model.layers):
                forget_layer(of, name)(model, connection, 0)
            for name in list(model.data):
                forget_data(name)(model, connection, 0)
            left = {
                table.name: count
                for table in metadata.sorted_tables
                if (count := connection.scalar(sa.select(sa.func.count()).select_from(table)))
            }
            assert left == {"state": 1}
            assert lists.used_bytes(connection, EVERYTHING) == 0
    finally:
        engine.dispose()
