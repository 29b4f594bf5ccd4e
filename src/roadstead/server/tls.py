"""The TLS side of a listener, in distribution's terms, with files that may change."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger("roadstead.server")

_MINIMUM_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}

# OpenSSL, as Python offers it, cannot ask for a certificate without checking it, so for
# request-client-cert it does not ask: what nobody checks would prove nothing either.
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

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, to be watched."""
        return (self.certificate, self.key, *self.client_cas)


class ServerTls:
    """A context for listeners that goes on with new certificates when their files change.

    A handshake that begins gets the certificates of that moment; connections that are open keep
    theirs and notice nothing. New files that cannot be used leave those of before.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Read the files for the first time.

        Raises:
            OSError: see ``make_context``.
        """
        self._files = files
        self._seen = self._state()
        # What listeners hold is this one; each handshake is handed over to the current one.
        self.context = self._current = make_context(files)
        self.context.sni_callback = self._choose

    def look(self) -> bool:
        """Read the files again if they have changed; say whether there is a new certificate."""
        seen = self._state()
        if seen == self._seen:
            return False
        self._seen = seen
        return self.reload()

    def reload(self) -> bool:
        """Read the files again, changed or not; say whether they can be used."""
        try:
            self._current = make_context(self._files)
        except OSError as error:
            # Half of a new pair is there for a moment when both are replaced one by one.
            fields = {"path": str(self._files.certificate), "error": str(error)}
            _log.error(
                "new TLS files cannot be used; the certificate of before stays",
                extra={"fields": fields},
            )
            return False
        _log.info("TLS files read", extra={"fields": {"path": str(self._files.certificate)}})
        return True

    def _choose(
        self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        handshake.context = self._current

    def _state(self) -> tuple[object, ...]:
        return tuple(_state_of(path) for path in self._files.paths)


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
        # A resumed session is not verified again, so a client of an authority that is no longer
        # in the files would stay welcome.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def minimum_version(name: str) -> ssl.TLSVersion:
    """Translate ``http.tls.minimumtls``."""
    return _MINIMUM_VERSIONS[name]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
