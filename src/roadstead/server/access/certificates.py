"""What a client's certificate proves, once TLS has verified it."""

from collections.abc import Iterator

from aiohttp import web

from roadstead.server.access.policy import Identity

_KINDS = {"commonName": "certificate", "organizationName": "organization"}


def certificate_identities(request: web.BaseRequest) -> Iterator[Identity]:
    """Yield the common names and organizations of a verified certificate; nothing without one.

    A certificate that was not verified shows no subject here (``ssl.SSLSocket.getpeercert``).
    """
    transport = request.transport
    session = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = session.getpeercert() if session is not None else None
    if not certificate:
        return
    for relative_name in certificate.get("subject", ()):
        for attribute, value in relative_name:
            kind = _KINDS.get(attribute)
            if kind is not None and value:
                yield Identity(kind, value)
