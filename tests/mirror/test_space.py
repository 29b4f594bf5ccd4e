"""Room for what arrives: the keeper that has no limit."""

from roadstead.mirror.space import Reservation, SpaceKeeper, Unlimited
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName

APP = RepositoryName("library/app")
DIGEST = Digest.of(b"content")


def test_without_limits_everything_is_agreed_to() -> None:
    """Whatever its size, and if nobody tells it, and after a disk was full."""
    keeper: SpaceKeeper = Unlimited()
    keeper.note_full()
    reservation: Reservation | None = keeper.reserve(APP, DIGEST, None)
    assert reservation is not None
    assert reservation.grow(1 << 60)
    reservation.release()
    reservation.release()


async def test_manifests_are_agreed_to_on_the_event_loop() -> None:
    """They need no thread."""
    keeper: SpaceKeeper = Unlimited()
    reservation = await keeper.reserve_on_loop(APP, DIGEST, 4 << 20)
    assert reservation is not None
    reservation.release()
