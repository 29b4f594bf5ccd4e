"""May our credentials go to this token server? The answer to CVE-2026-33540.

The upstream names its token server in an unauthenticated answer, so the name proves nothing:
only the upstream's own host, hosts of its registrable domain, and hosts that the operator
listed are asked for tokens, with or without credentials.
"""

import functools
import ipaddress

from publicsuffixlist import PublicSuffixList

from roadstead.upstream.address import Origin


@functools.cache
def _suffixes() -> PublicSuffixList:
    # Read when it is first needed: it is long.
    return PublicSuffixList()


def refusal_of_realm(realm: str, *, upstream: Origin, trusted: frozenset[str]) -> str | None:
    """Say why a realm must not be used, or None if it may.

    ``trusted`` holds host names, or ``host:port``, in lower case. Addresses, ``localhost`` and
    names without a domain share no registrable domain with anything: they are used only as
    the upstream's own host and port, or when listed. So loopback, private and link-local
    addresses are out of a hostile upstream's reach.
    """
    try:
        origin = Origin.parse(realm)
    except ValueError as error:
        return f"it {error}"
    if origin.scheme == "http" and upstream.scheme == "https":
        return "it is plain http, and the registry is not"
    if (origin.host, origin.port) == (upstream.host, upstream.port):
        return None
    if trusted & {origin.host, f"{origin.host}:{origin.port}"}:
        return None
    domain = _registrable_domain(origin.host)
    if domain is not None and domain == _registrable_domain(upstream.host):
        return None
    return "it is no host of the registry's own domain and is not listed as trusted"


def _registrable_domain(host: str) -> str | None:
    if host == "localhost" or host.endswith(".localhost") or _is_address(host):
        return None
    return _suffixes().privatesuffix(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Also 127.1 and 0x7f.0.0.1, which resolvers read as addresses: no top-level domain
        # begins with a digit.
        return host.rpartition(".")[2][:1].isdigit()
    return True
