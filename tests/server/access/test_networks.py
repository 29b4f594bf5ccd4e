"""Addresses: whose word counts, and what is in which network."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.server.access.networks import Networks, client_address, parse_address, site_of

PROXIES = Networks.parse(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:4711 ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("", None),
        ("192.0.2.1, 192.0.2.2", None),
        ("192.0.2.256", None),
        ("0x7f.1", None),
        ("127.1", None),
        ("010.0.0.1", None),
    ],
)
def test_addresses(text: str, address: str | None) -> None:
    """Every usual form is read, and nothing is guessed."""
    assert parse_address(text) == (None if address is None else ip_address(address))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        # Anybody can write the header; only a proxy's counts.
        ("192.0.2.1", ["10.0.0.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["10.9.9.9, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["192.0.2.7, 10.9.9.9"], "192.0.2.7"),
        ("10.0.0.1", ["192.0.2.7", "10.9.9.9"], "192.0.2.7"),
        ("10.0.0.1", ["10.8.8.8, 10.9.9.9"], "10.8.8.8"),
        ("10.0.0.1", ["192.0.2.7, junk"], None),
        ("10.0.0.1", ["junk, 192.0.2.7"], "192.0.2.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", [", ,"], "10.0.0.1"),
        # A unix socket has no address, and its proxy is not trusted here.
        (None, ["192.0.2.7"], None),
    ],
)
def test_the_client_is_who_a_trusted_proxy_says(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    """The list is read from the right, as long as who wrote an entry is trusted."""
    expected = None if client is None else ip_address(client)
    assert client_address(peer, forwarded, PROXIES) == expected


def test_a_proxy_at_the_unix_socket_is_trusted_by_name() -> None:
    """``unix`` says that whoever can open the socket tells the truth."""
    trusted = Networks.parse(["unix"])

    assert client_address(None, ["192.0.2.7"], trusted) == IPv4Address("192.0.2.7")
    assert client_address(None, [], trusted) is None


@given(st.text(), st.lists(st.text("0123456789.:, abcdef[]%"), max_size=4))
def test_nobody_else_can_choose_an_address(peer: str, forwarded: list[str]) -> None:
    """Without a trusted proxy the headers have no effect, whatever is in them."""
    assert client_address(peer, forwarded, Networks()) == parse_address(peer)


@given(st.ip_addresses(v=6))
def test_a_client_of_ipv6_is_a_network_of_64_bits(address: IPv6Address) -> None:
    """One host has as many addresses of its /64 as it wants."""
    assert site_of(address) == site_of(IPv6Address(int(address) ^ 0xFFFF))
    assert site_of(address) != site_of(IPv6Address(int(address) ^ (1 << 64)))


def test_networks() -> None:
    """A single address is a network; IPv4 inside IPv6 is IPv4; odd ones are refused."""
    networks = Networks.parse(["192.0.2.1", "::ffff:10.1.0.0/112"])

    assert IPv4Address("192.0.2.1") in networks
    assert IPv4Address("192.0.2.2") not in networks
    assert IPv4Address("10.1.7.7") in networks
    assert not Networks()
    with pytest.raises(ValueError, match="host bits"):
        Networks.parse(["10.0.0.1/8"])
