"""Credentials come from where they should, as often as they should, and print as nothing."""

import stat
from pathlib import Path

import pytest

from roadstead.errors import UpstreamUnauthorizedError
from roadstead.oci.reference import RepositoryName
from roadstead.secrecy import Secret
from roadstead.upstream.credentials import Credentials, ExecCredentials
from tests.support.clock import Clock

APP = RepositoryName("library/app")


def helper(folder: Path, body: str) -> str:
    """Write a credential helper that notes its calls."""
    program = folder / "docker-credential-scripted"
    program.write_text(f'#!/bin/sh\nread server\necho "$1 $server" >> {folder}/calls\n{body}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def calls(folder: Path) -> list[str]:
    """Read what the helper noted."""
    return (folder / "calls").read_text().splitlines()


GOOD = """echo '{"ServerURL": "host", "Username": "alice", "Secret": "pl4nted"}'"""


@pytest.mark.parametrize(("lifetime", "runs"), [(None, 1), (0.0, 3), (10.0, 2)])
async def test_a_helper_is_asked_as_often_as_its_lifetime_says(
    tmp_path: Path, lifetime: float | None, runs: int
) -> None:
    """None asks once, zero each time, a number after so many seconds."""
    clock = Clock(now=0)
    source = ExecCredentials(
        command=helper(tmp_path, GOOD), server="host", lifetime_seconds=lifetime, clock=clock
    )

    for now in (0.0, 9.0, 10.0):
        clock.now = now
        assert await source.get(APP) == Credentials("alice", Secret("pl4nted"))

    assert calls(tmp_path) == ["get host"] * runs


@pytest.mark.parametrize(
    "body",
    [
        "echo 'credentials not found in native keychain'; exit 1",
        """echo '{"ServerURL": "", "Username": "", "Secret": ""}'""",
    ],
)
async def test_a_helper_without_credentials_means_anonymous(tmp_path: Path, body: str) -> None:
    """The protocol's own words for "none" are no failure, and neither are empty ones."""
    source = ExecCredentials(command=helper(tmp_path, body), server="host", lifetime_seconds=None)

    assert await source.get(APP) is None


@pytest.mark.parametrize(
    "body",
    [
        "exit 3",
        "echo 'pl4nted is no JSON'",
        """echo '{"Username": "alice"}'""",
        """echo '{"Username": "alice", "Secret": ["pl4nted"]}'""",
        "echo '[\"pl4nted\"]'",
    ],
)
async def test_a_broken_helper_is_a_clear_error_without_its_output(
    tmp_path: Path, body: str
) -> None:
    """Whatever it printed may be the secret, so it is not repeated, and nothing is remembered."""
    source = ExecCredentials(command=helper(tmp_path, body), server="host", lifetime_seconds=None)

    for _ in range(2):
        with pytest.raises(UpstreamUnauthorizedError) as caught:
            await source.get(APP)
        assert "pl4nted" not in str(caught.value)
        assert "docker-credential-scripted" in str(caught.value)
    assert len(calls(tmp_path)) == 2


async def test_a_helper_that_hangs_is_ended(tmp_path: Path) -> None:
    """A helper has its time, then it is killed."""
    source = ExecCredentials(
        command=helper(tmp_path, "exec sleep 30"),
        server="host",
        lifetime_seconds=None,
        timeout_seconds=0.1,
    )

    with pytest.raises(UpstreamUnauthorizedError, match=r"longer than 0\.1 s"):
        await source.get(APP)


async def test_a_missing_helper_is_a_clear_error(tmp_path: Path) -> None:
    """A program that is not there is named."""
    source = ExecCredentials(command=str(tmp_path / "absent"), server="host", lifetime_seconds=None)

    with pytest.raises(UpstreamUnauthorizedError, match=r"absent cannot be run"):
        await source.get(APP)


def test_credentials_print_as_nothing() -> None:
    """Neither repr nor the identity used in keys shows the password."""
    credentials = Credentials("alice", Secret("pl4nted"))

    assert "pl4nted" not in repr(credentials)
    assert "pl4nted" not in credentials.identity
    assert credentials.identity != Credentials("alice", Secret("other")).identity
    bearer = Credentials("alice", Secret("pl4nted"), is_bearer=True)
    assert credentials.identity != bearer.identity
