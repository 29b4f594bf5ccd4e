"""Whose certificate an upstream may show, and which one is shown to it."""

import errno
import functools
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from roadstead.upstream.address import Origin

# Verification results of OpenSSL (x509_vfy.h) that no other trust would mend.
_OF_TIME = frozenset({9, 10})
_OF_NAME = frozenset({62, 64})

_FIXES = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS there; is it an http:// address?",
    "HTTP_REQUEST": "it does not speak TLS there; is it an http:// address?",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "clientcertificate and clientkey name the one to show",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "if it wants a certificate, clientcertificate names it",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of the one in clientcertificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take the one in clientcertificate",
}


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The contexts for one upstream.

    ``registry`` is for the registry's own origin. ``elsewhere`` is for its token server, its
    storage and wherever else it leads; it never shows the client certificate, which is a
    credential for the registry.
    """

    registry: ssl.SSLContext
    elsewhere: ssl.SSLContext

    def context_for(self, url: str, *, registry: Origin) -> ssl.SSLContext:
        """Choose the context for an address."""
        return self.registry if Origin.parse(url) == registry else self.elsewhere


def make_client_tls(
    *,
    ca_file: Path | None = None,
    client_certificate: Path | None = None,
    client_key: Path | None = None,
    insecure: bool = False,
) -> ClientTls:
    """Build the contexts from an upstream's settings; see ``make_client_context``.

    Raises:
        OSError: a file cannot be used; the message names the key, the file and the reason.
    """
    if ca_file is None and client_certificate is None and client_key is None and not insecure:
        return default_client_tls()
    elsewhere = make_client_context(ca_file=ca_file, insecure=insecure)
    if client_certificate is None and client_key is None:
        return ClientTls(elsewhere, elsewhere)
    registry = make_client_context(
        ca_file=ca_file,
        client_certificate=client_certificate,
        client_key=client_key,
        insecure=insecure,
    )
    return ClientTls(registry, elsewhere)


@functools.cache
def default_client_tls() -> ClientTls:
    """Return the system's trust and no client certificate, one for all upstreams."""
    context = make_client_context()
    return ClientTls(context, context)


def make_client_context(
    *,
    ca_file: Path | None = None,
    client_certificate: Path | None = None,
    client_key: Path | None = None,
    insecure: bool = False,
) -> ssl.SSLContext:
    """Build one context, for TLS 1.2 and later.

    ``ca_file`` adds authorities to the system's, as ``certs.d`` does for Docker, so that a
    private registry may still redirect to public storage. ``client_key`` None: the key is in
    the file of the certificate. ``insecure`` accepts any certificate.

    Raises:
        OSError: a file cannot be used; the message names the key, the file and the reason.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        _load_authorities(context, ca_file)
    if client_certificate is not None:
        _load_certificate(context, client_certificate, client_key)
    elif client_key is not None:
        message = f"clientkey {client_key} cannot be used without clientcertificate"
        raise OSError(message)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def tls_failure(error: BaseException) -> str | None:
    """Say what TLS had against a connection and what may help; None for any other error."""
    found = _innermost(error)
    if found is None:
        return None
    if not isinstance(found, ssl.SSLCertVerificationError):
        reason = (found.reason or "unknown reason").lower().replace("_", " ")
        fix = _FIXES.get(found.reason or "")
        return f"TLS failed: {reason}" + (f"; {fix}" if fix else "")
    said = found.verify_message.rstrip(".")
    if found.verify_code in _OF_TIME:
        return f"its certificate is not valid: {said}"
    if found.verify_code in _OF_NAME:
        return f"its certificate is for another name: {said}"
    return (
        f"its certificate is not trusted: {said}; "
        "the key ca names a file with the certificate of its authority"
    )


def _innermost(error: BaseException) -> ssl.SSLError | None:
    # Both clients wrap the library's error, and those of aiohttp are of its class as well.
    found: ssl.SSLError | None = None
    part: BaseException | None = error
    while part is not None:
        if isinstance(part, ssl.SSLError):
            found = part
        inner = (each for each in part.args if isinstance(each, BaseException))
        part = part.__cause__ or next(inner, None)
    return found


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        message = f"ca {path} cannot be used: it holds no certificate in PEM form"
        raise OSError(message) from error
    except OSError as error:
        message = f"ca {path} cannot be read: {_reason(error)}"
        raise OSError(message) from error


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    files = f"clientcertificate {certificate}" + (f" with clientkey {key}" if key else "")
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        said = (error.reason or "no certificate and key in PEM form").lower().replace("_", " ")
        message = f"{files} cannot be used: {said}"
        raise OSError(message) from error
    except OSError as error:
        message = f"{files} cannot be used: {_reason(error)}"
        raise OSError(message) from error


def _refuse_password() -> NoReturn:
    # Without this, OpenSSL asks on the terminal.
    raise OSError(errno.EINVAL, "the key is encrypted; a key without a passphrase is needed")


def _reason(error: OSError) -> str:
    return error.strerror or (os.strerror(error.errno) if error.errno else type(error).__name__)
