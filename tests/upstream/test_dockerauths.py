"""Credential files of every shape are understood, and broken ones tell nothing of themselves."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.oci.reference import RepositoryName
from roadstead.secrecy import Secret
from roadstead.upstream.credentials import IDENTITY_TOKEN_USER, Credentials
from roadstead.upstream.dockerauths import DockerAuths, Helper, read_docker_auths
from roadstead.upstream.serverkeys import ServerKey

APP = RepositoryName("org/app")
GHCR = ServerKey("ghcr.io")
HUB = ServerKey("docker.io")
ALICE = Credentials("alice", Secret("pl4nted"))


def encoded(pair: str) -> str:
    """Write what Docker stores as ``auth``."""
    return base64.b64encode(pair.encode()).decode()


def read(document: object, server: ServerKey = GHCR) -> DockerAuths:
    """Read a document as a file's content."""
    return read_docker_auths(json.dumps(document).encode(), server)


@pytest.mark.parametrize(
    ("entry", "credentials"),
    [
        ({"auth": encoded("alice:pl4nted")}, ALICE),
        ({"auth": encoded("alice:pl4nted") + "\n"}, ALICE),
        ({"auth": encoded("alice:pl4nted\0\0")}, ALICE),
        ({"auth": encoded("alice:a:b")}, Credentials("alice", Secret("a:b"))),
        ({"username": "alice", "password": "pl4nted"}, ALICE),
        ({"auth": encoded("alice:pl4nted"), "username": "bob", "password": "x"}, ALICE),
        ({"auth": "", "username": "alice", "password": "pl4nted", "email": "a@b"}, ALICE),
        (
            {"auth": encoded("0000:"), "identitytoken": "pl4nted"},
            Credentials(IDENTITY_TOKEN_USER, Secret("pl4nted")),
        ),
        (
            {"registrytoken": "pl4nted", "identitytoken": "other"},
            Credentials("", Secret("pl4nted"), is_bearer=True),
        ),
        ({}, None),
        ({"auth": encoded(":")}, None),
        ({"auth": None}, None),
    ],
)
def test_an_entry_is_read_as_docker_reads_it(
    entry: dict[str, object], credentials: Credentials | None
) -> None:
    """Ready tokens come before identity tokens, ``auth`` before the separate fields."""
    assert read({"auths": {"ghcr.io": entry}}).account_for(APP) == credentials


def test_the_old_secret_is_just_the_map() -> None:
    """``.dockercfg`` has no ``auths`` around its entries."""
    entry = {"username": "alice", "password": "pl4nted"}

    assert read({"https://ghcr.io": entry}).account_for(APP) == ALICE


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_is_found_by_all_its_names(key: str) -> None:
    """Docker, podman and Kubernetes write different ones."""
    auths = read({"auths": {key: {"auth": encoded("alice:pl4nted")}}}, HUB)

    assert auths.account_for(RepositoryName("library/app")) == ALICE
    assert read({"auths": {key: {"auth": encoded("alice:pl4nted")}}}).accounts == ()


@given(prefixes=st.sets(st.sampled_from(["", "org", "org/app", "org/app/sub", "or", "other"])))
def test_the_longest_key_wins(prefixes: set[str]) -> None:
    """Among the keys that cover a repository, the most exact one has the account."""
    entries = {
        f"ghcr.io/{prefix}" if prefix else "ghcr.io": {"username": prefix or "all", "password": "x"}
        for prefix in prefixes
    }

    account = read({"auths": entries}).account_for(APP)

    fitting = [prefix for prefix in ("org/app", "org", "") if prefix in prefixes]
    assert (account and account.username) == (fitting[0] or "all" if fitting else None)


def test_an_exact_host_wins_over_a_star() -> None:
    """A pattern is for what nothing more exact is for."""
    entries = {
        key: {"username": key, "password": "x"} for key in ("*.io", "ghcr.io", "gh*.io", "quay.io")
    }

    account = read({"auths": entries}).account_for(APP)

    assert account is not None
    assert account.username == "ghcr.io"


def test_helpers_come_in_dockers_order() -> None:
    """The registry's own helper is asked by its key, then the store by the name that it knows."""
    document = {
        "auths": {},
        "credHelpers": {"docker.io": "own", "ghcr.io": "other", "docker.io/org": "never"},
        "credsStore": "desktop",
    }

    assert read(document, HUB).helpers == (
        Helper("docker-credential-own", "docker.io"),
        Helper("docker-credential-desktop", "https://index.docker.io/v1/"),
    )
    assert read(document, ServerKey("quay.io")).helpers == (
        Helper("docker-credential-desktop", "quay.io"),
    )


def test_an_empty_helper_excepts_a_registry_from_the_store() -> None:
    """Docker then reads the file, and so do we."""
    document = {
        "auths": {"ghcr.io": {"auth": encoded("alice:pl4nted")}},
        "credHelpers": {"ghcr.io": ""},
        "credsStore": "desktop",
    }

    auths = read(document)

    assert (auths.helpers, auths.account_for(APP)) == ((), ALICE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"pl4nted", "is no JSON"),
        (b'{"auths": {"ghcr.io": {"auth": "pl4nted"', "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'["pl4nted"]', "is no JSON object"),
        (b'{"auths": "pl4nted"}', "has auths that are no JSON object"),
        (b'{"auths": {}, "credHelpers": ["pl4nted"]}', "has credHelpers that are no JSON object"),
        (b'{"auths": {"ghcr.io": "pl4nted"}}', "has an entry for ghcr.io that cannot be read"),
        (b'{"auths": {"ghcr.io": {"auth": ["pl4nted"]}}}', "has an entry for ghcr.io"),
        (b'{"auths": {"ghcr.io": {"auth": "pl4nted!"}}}', "has an entry for ghcr.io"),
        (b'{"auths": {"ghcr.io": {"auth": "cGw0bnRlZA=="}}}', "has an entry for ghcr.io"),
        (b'{"credHelpers": {"ghcr.io": "../pl4nted"}}', "names a program in credHelpers"),
        (b'{"credHelpers": {"ghcr.io": 7}}', "names a program in credHelpers"),
        (b'{"credsStore": "pl4nted rm"}', "names a program in credsStore"),
    ],
)
def test_a_broken_file_says_what_is_wrong_and_nothing_else(content: bytes, expected: str) -> None:
    """No message, and no exception behind it, repeats what the file holds."""
    with pytest.raises(ValueError, match=expected) as caught:
        read_docker_auths(content, GHCR)

    assert "pl4nted" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_broken_entries_for_others_do_no_harm() -> None:
    """Only what concerns the registry is looked at."""
    document = {
        "auths": {"quay.io": "nonsense", "ghcr.io": {"auth": encoded("alice:pl4nted")}},
        "credHelpers": {"quay.io": 7},
    }

    assert read(document).account_for(APP) == ALICE
