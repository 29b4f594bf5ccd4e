"""Passwords: read from the file, checked in threads, and kept nowhere."""

import asyncio
from pathlib import Path

import bcrypt
import pytest

from roadstead.errors import TooManyAttemptsError
from roadstead.server.access.attempts import Attempts
from roadstead.server.access.htpasswd import HtpasswdFile, parse_htpasswd
from roadstead.server.access.passwords import PasswordChecker, matches
from tests.support.clock import Clock

SITE = "192.0.2.1"


def entry(user: str, password: str, *, version: str = "2y") -> str:
    """Write a line as ``htpasswd -B`` does, cheaply."""
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    return f"{user}:${version}{hashed[3:]}\n"


class Bench:
    """A checker over a file, and its clock."""

    def __init__(self, path: Path, *, most: int = 30, most_pending: int = 64) -> None:
        self.clock = Clock()
        self.path = path
        self.compared = 0
        self.checker = PasswordChecker(
            HtpasswdFile(path, clock=self.clock),
            attempts=Attempts(most=most, clock=self.clock),
            most_pending=most_pending,
            compare=self._compare,
            clock=self.clock,
        )

    async def check(self, user: str, password: str, site: str = SITE) -> bool:
        """Ask."""
        return await self.checker.check(user, password, site=site)

    def _compare(self, given: bytes, hashed: bytes) -> bool:
        self.compared += 1
        return matches(given, hashed)

    def write(self, text: str) -> None:
        """Replace the file, and let it be looked at."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)
        self.clock.advance(2.0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give a checker over a file with alice."""
    path = tmp_path / "htpasswd"
    path.write_text("# people\n\n" + entry("alice", "right"))
    return Bench(path)


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        ("alice", "right", True),
        ("alice", "wrong", False),
        ("alice", "", False),
        ("Alice", "right", False),
        ("bob", "right", False),
        ("", "right", False),
        ("# people", "right", False),
        ("alice", "right\x00", False),
        ("alice", "x" * 100_000, False),
        ("al\udcffice", "right", False),
    ],
)
async def test_only_the_right_password_is_right(
    bench: Bench, user: str, password: str, *, right: bool
) -> None:
    """For the user that it belongs to."""
    assert await bench.check(user, password) is right


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
async def test_every_version_of_bcrypt(bench: Bench, version: str) -> None:
    """Apache writes 2y, Go and Python 2a and 2b."""
    bench.write(entry("bob", "b", version=version))

    assert await bench.check("bob", "b")


async def test_a_long_password_is_cut_as_htpasswd_cuts_it(bench: Bench) -> None:
    """The hash covers 72 bytes."""
    bench.write(entry("bob", "b" * 80))

    assert await bench.check("bob", "b" * 80)
    assert not await bench.check("bob", "b" * 71)


async def test_changes_of_the_file_count_at_once(bench: Bench) -> None:
    """A new user comes in, a new password replaces the old, who is removed stays out."""
    assert await bench.check("alice", "right")
    bench.write(entry("alice", "fresh") + entry("bob", "b"))

    assert not await bench.check("alice", "right")
    assert await bench.check("alice", "fresh")
    assert await bench.check("bob", "b")
    bench.write(entry("bob", "b"))
    assert not await bench.check("alice", "fresh")


async def test_without_the_file_nobody_comes_in(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not made up, the log says so once, and it counts as soon as it is there."""
    assert await bench.check("alice", "right")
    bench.path.unlink()
    for _ in range(3):
        bench.clock.advance(2.0)
        assert not await bench.check("alice", "right")

    assert caplog.text.count("nobody can log in") == 1
    assert not bench.path.exists()
    bench.write(entry("alice", "right"))
    assert await bench.check("alice", "right")


def test_other_hashes_than_bcrypt_do_not_count() -> None:
    """Their users are named, and of a name that stands twice the first counts."""
    text = b"a:{SHA}x\nb:$apr1$x\nc:plain\nd\n:e\n" + entry("f", "1").encode() + b"f:$2y$second\n"

    entries, odd = parse_htpasswd(text)

    assert list(entries) == ["f"]
    assert not entries["f"].endswith(b"second")
    assert odd == ["a", "b", "c"]


async def test_one_pull_costs_one_bcrypt(bench: Bench) -> None:
    """Twenty requests at once and twenty after them, the right password and a wrong one."""
    for password in ("right", "wrong"):
        at_once = await asyncio.gather(*(bench.check("alice", password) for _ in range(20)))
        after = [await bench.check("alice", password) for _ in range(20)]
        assert {*at_once, *after} == {password == "right"}

    assert bench.compared == 2
    bench.clock.advance(301.0)
    assert await bench.check("alice", "right")
    assert bench.compared == 3


async def test_guessing_is_slow(tmp_path: Path) -> None:
    """After some wrong ones no more are looked at; who is known, and others, go on."""
    path = tmp_path / "htpasswd"
    path.write_text(entry("alice", "right"))
    bench = Bench(path, most=3)
    assert await bench.check("alice", "right")
    for guess in range(3):
        assert not await bench.check("alice", f"guess {guess}")

    with pytest.raises(TooManyAttemptsError) as caught:
        await bench.check("alice", "guess 3")

    assert 0 < caught.value.retry_after_seconds <= 60
    assert bench.compared == 4
    assert await bench.check("alice", "right")
    assert not await bench.check("alice", "guess 4", site="192.0.2.2")
    bench.clock.advance(61.0)
    assert not await bench.check("alice", "guess 5")


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    """Of many passwords at once those that find no place are turned away."""
    path = tmp_path / "htpasswd"
    path.write_text(entry("alice", "right"))
    bench = Bench(path, most=1000, most_pending=4)

    answers = await asyncio.gather(
        *(bench.check("alice", f"guess {number}") for number in range(50)), return_exceptions=True
    )

    refused = [answer for answer in answers if isinstance(answer, TooManyAttemptsError)]
    assert len(refused) == 46
    assert await bench.check("alice", "right")


async def test_no_password_is_kept(bench: Bench) -> None:
    """What is remembered is salted for the process."""
    await bench.check("alice", "right")

    kept = repr([*vars(bench.checker).values()])

    assert "right" not in kept.replace("_right", "")
    assert len(next(iter(bench.checker._right))) == 32
