"""Where a request comes from: addresses, networks, and what trusted proxies say. Pure.

An address that nobody can vouch for is None, and None is in no network that admits and in every
network that refuses, so that a mistake closes rather than opens.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

UNIX: Final = "unix"
"""Stands for a unix socket in a list of trusted proxies."""

# A list of proxies is never so long; the rest of a longer one is nobody's word.
_MOST_HOPS = 32
_IPV6_SITE = 64
# ::ffff:0:0/96 is all of IPv4.
_MAPPED_PREFIX = 96


@dataclass(frozen=True, slots=True)
class Networks:
    """Some networks, and perhaps the unix socket."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Networks":
        """Read ``10.0.0.0/8``, ``10.0.0.1``, ``fd00::/8`` or ``unix``.

        Raises:
            ValueError: one is none of these, or has bits set behind its prefix.
        """
        listed = list(texts)
        found = tuple(_unmapped(ip_network(text)) for text in listed if text != UNIX)
        return cls(found, unix=UNIX in listed)

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def parse_address(text: str) -> Address | None:
    """Read the address of a peer or of a proxy's header, with or without a port; None if odd.

    IPv4 inside IPv6 (``::ffff:10.0.0.1``) is IPv4; a zone (``%eth0``) is cut off.
    """
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_address(
    peer: str | None, forwarded_for: Iterable[str], trusted: Networks
) -> Address | None:
    """Say who the client is; None if nobody who is trusted knows.

    ``peer`` is the TCP peer, None on a unix socket; ``forwarded_for`` are the values of all
    X-Forwarded-For headers. Each proxy adds the address that it saw at the right, so the list is
    read from there, and only as long as who wrote an entry is trusted.
    """
    if peer is None:
        if not trusted.unix:
            return None
        address = None
    else:
        address = parse_address(peer)
        if address is None or address not in trusted:
            return address
    entries = ",".join(forwarded_for).split(",")[-_MOST_HOPS:]
    for entry in reversed([entry for entry in entries if entry.strip()]):
        address = parse_address(entry)
        if address is None or address not in trusted:
            return address
    return address


def site_of(address: Address | None) -> str:
    """Name what one client can be told by: the address, or the /64 of IPv6; "" if unknown."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_SITE), strict=False))
    return "" if address is None else str(address)


def _unmapped(network: Network) -> Network:
    """Write a network of IPv4 inside IPv6 as IPv4, as addresses are."""
    inner = getattr(network.network_address, "ipv4_mapped", None)
    if inner is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return IPv4Network((inner, network.prefixlen - _MAPPED_PREFIX))


NOWHERE: Final = Networks()
