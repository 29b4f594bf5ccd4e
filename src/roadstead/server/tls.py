"""The TLS side of a listener, in distribution's terms."""

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class ClientAuth(StrEnum):
    """What is asked of client certificates: the values of ``http.tls.clientauth``."""

    REQUEST = "request-client-cert"
    REQUIRE_ANY = "require-any-client-cert"
    VERIFY_IF_GIVEN = "verify-client-cert-if-given"
    REQUIRE_AND_VERIFY = "require-and-verify-client-cert"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files and rules of one TLS listener.

    ``ciphers`` is OpenSSL's list for TLS 1.2, empty for the library's choice. ``client_cas``
    switches client authentication on.
    """

    certificate: Path
    key: Path
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = ""
    client_cas: tuple[Path, ...] = ()
    client_auth: ClientAuth = field(default=ClientAuth.REQUIRE_AND_VERIFY)


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """Build the server's context.

    Raises:
        OSError: a file cannot be read, or holds no usable certificate or key
            (``ssl.SSLError`` is an OSError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = files.minimum
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["http/1.1"])
    if files.ciphers:
        context.set_ciphers(files.ciphers)
    if files.client_cas:
        for path in files.client_cas:
            context.load_verify_locations(path)
        is_required = files.client_auth in (ClientAuth.REQUIRE_ANY, ClientAuth.REQUIRE_AND_VERIFY)
        context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    return context
