"""Who may steer: admins and the machine itself, but no page in somebody's browser."""

import pytest
from aiohttp import ClientSession, web

from roadstead.errors import RoadsteadError
from roadstead.secrecy import Secret
from roadstead.server.access.gate import Gate, SharedHeader, open_gate
from roadstead.server.access.networks import Networks
from roadstead.server.access.policy import Policy, Principals
from roadstead.server.access.steering import LOCAL, SteeringGate, is_foreign_page, is_local
from roadstead.server.errors import render_error
from roadstead.server.listener import Listener
from tests.server.access.test_policy import rule
from tests.support.rig import Rig

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("peer", "headers", "host", "local"),
    [
        ("127.0.0.1", {}, "localhost:5001", True),
        ("127.0.0.1", {}, "127.0.0.1:5001", True),
        ("::1", {}, "[::1]:5001", True),
        ("::ffff:127.0.0.1", {}, "LOCALHOST", True),
        ("10.0.0.1", {}, "localhost:5001", False),
        (None, {}, "localhost", False),
        # A proxy on this machine stands for clients that are not.
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, "localhost:5001", False),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, "localhost:5001", False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, "localhost:5001", False),
        # A name that somebody else has bound to 127.0.0.1.
        ("127.0.0.1", {}, "evil.example:5001", False),
        ("127.0.0.1", {}, "localhost.evil.example", False),
        ("127.0.0.1", {}, "", False),
    ],
)
def test_what_is_local(
    peer: str | None, headers: dict[str, str], host: str, *, local: bool
) -> None:
    """The peer and the name it used are this machine's, and nobody is in between."""
    assert is_local(peer, headers, host) is local


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"Origin": "http://localhost:5001"}, False),
        ({"Origin": "http://localhost:5001", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "http://localhost:8080"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
    ],
)
def test_what_is_a_foreign_page(headers: dict[str, str], *, foreign: bool) -> None:
    """Browsers say for whom they ask; other programs say nothing."""
    assert is_foreign_page(headers, "localhost:5001") is foreign


async def answers(gate: Gate, headers: dict[str, str]) -> tuple[int, str]:
    """Ask a listener that tells whom it let through."""
    steering = SteeringGate(gate)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return web.Response(text=await steering.authorise(request))
        except RoadsteadError as error:
            return render_error(error)

    listener = Listener(handler, drain_seconds=0)
    port = await listener.listen_tcp("127.0.0.1", 0)
    try:
        async with (
            ClientSession() as client,
            client.post(f"http://127.0.0.1:{port}/", headers=headers) as response,
        ):
            return response.status, await response.text()
    finally:
        await listener.aclose()


async def test_steering(rig: Rig) -> None:
    """This machine may; from elsewhere admins may; readers and pages may not."""
    gate = Gate(
        Policy(
            (rule("allow", "everybody"),),
            admins=Principals.parse(["header:ops"]),
            denied=Networks.parse(["192.0.2.0/24"]),
        ),
        mirrors=rig.mirrors,
        headers=(
            SharedHeader("X-Key", Secret(KEY), "ops"),
            SharedHeader("X-Key", Secret(KEY[::-1]), "ci"),
        ),
        trusted_proxies=Networks.parse(["127.0.0.1"]),
    )
    away = {"X-Forwarded-For": "10.0.0.1"}

    assert await answers(gate, {}) == (200, LOCAL)
    assert await answers(gate, {**away, "X-Key": KEY}) == (200, "header:ops")
    for headers in (
        away,
        {**away, "X-Key": KEY[::-1]},
        {"Origin": "http://evil.example"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "192.0.2.1", "X-Key": KEY},
        {"X-Forwarded-For": "127.0.0.1"},
    ):
        assert (await answers(gate, headers))[0] == 403


async def test_without_admins_nobody_steers_from_elsewhere(rig: Rig) -> None:
    """A debug listener that is open for metrics is not open for steering."""
    status, text = await answers(open_gate(rig.mirrors), {"X-Forwarded-For": "10.0.0.1"})

    assert status == 403
    assert "access.admins" in text
