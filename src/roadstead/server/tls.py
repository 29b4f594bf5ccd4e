"""The TLS side of a listener, in distribution's terms."""

import ssl
from dataclasses import dataclass
from pathlib import Path

_MINIMUM_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files and rules of one TLS listener.

    ``ciphers`` is OpenSSL's list for TLS 1.2, empty for the library's choice. ``client_cas``
    switches client authentication on; ``client_auth`` is the value of ``http.tls.clientauth``.
    """

    certificate: Path
    key: Path
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = ""
    client_cas: tuple[Path, ...] = ()
    client_auth: str = "require-and-verify-client-cert"


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
        # "request" and "verify if given" are one here: OpenSSL checks what it is given.
        is_required = files.client_auth == "require-and-verify-client-cert"
        context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    return context


def minimum_version(name: str) -> ssl.TLSVersion:
    """Translate ``http.tls.minimumtls``."""
    return _MINIMUM_VERSIONS[name]
