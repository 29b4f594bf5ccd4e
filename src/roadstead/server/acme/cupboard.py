"""Where certificate, keys and account are kept: files that only their owner can read."""

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# Let's Encrypt asks for a renewal when a third of the life is left.
_RENEWED_AT: Final = 1 / 3
_STAND_IN_DAYS: Final = 30
_ORGANIZATION: Final = "Roadstead stand-in until the ACME server answers"


@dataclass(frozen=True, slots=True)
class Cupboard:
    """Files in a folder; both PEM files are there from ``prepare`` on."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The chain, the mirror's own certificate first."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """The key of that certificate."""
        return self.folder / "key.pem"

    @property
    def account(self) -> Path:
        """The key of the account at the ACME server."""
        return self.folder / "account.json"

    def prepare(self, hosts: list[str], now: dt.datetime) -> None:
        """Make the folder, and a stand-in certificate if there is none.

        Raises:
            OSError: it cannot be made, or something else is there.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.certificate.exists() and self.key.exists()):
            self.put(*_stand_in(hosts, now))

    def put(self, certificate: bytes, key: bytes) -> None:
        """Put a new pair in its place, each file at once."""
        write_private(self.key, key)
        write_private(self.certificate, certificate)

    def renewal_due(self, hosts: list[str], now: dt.datetime) -> bool:
        """Say whether the certificate is a stand-in, old, broken, or for other hosts."""
        try:
            held = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            return True
        if held.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
            return True
        life = held.not_valid_after_utc - held.not_valid_before_utc
        is_old = now > held.not_valid_after_utc - life * _RENEWED_AT
        return is_old or not set(hosts) <= set(names.get_values_for_type(x509.DNSName))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner can read."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def new_key() -> bytes:
    """Make a key for a certificate, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _stand_in(hosts: list[str], now: dt.datetime) -> tuple[bytes, bytes]:
    """Make a certificate that nobody trusts, so that the listener can open."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=_STAND_IN_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
        .sign(key, SHA256())
    )
    return (
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
