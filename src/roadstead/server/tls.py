"""The TLS side of a listener, in distribution's terms."""

import ssl
from dataclasses import dataclass
from pathlib import Path

_MINIMUM_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}

# OpenSSL cannot ask for a certificate without checking it, so it does not ask.
_VERIFY_MODES = {
    "request-client-cert": ssl.CERT_NONE,
    "verify-client-cert-if-given": ssl.CERT_OPTIONAL,
    "require-and-verify-client-cert": ssl.CERT_REQUIRED,
}


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
        context.verify_mode = _VERIFY_MODES[files.client_auth]
    return context


def minimum_version(name: str) -> ssl.TLSVersion:
    """Translate ``http.tls.minimumtls``."""
    return _MINIMUM_VERSIONS[name]
