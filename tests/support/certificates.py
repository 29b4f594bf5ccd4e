"""A certificate authority for loopback, made by openssl."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files in PEM form."""

    file: Path
    key: Path

    def server_context(self, *, client_authority: Path | None = None) -> ssl.SSLContext:
        """Serve with it; with ``client_authority``, only clients that show its certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """Signs certificates; ``certificate`` is its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = self._request("authority", "-subj", "/CN=A private authority")

    def issue(self, name: str, *, subject_names: str = "IP:127.0.0.1") -> Certificate:
        """Sign a certificate for ``subject_names``, in openssl's notation."""
        return self._request(
            name,
            *("-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={subject_names}"),
            *("-addext", "basicConstraints=CA:FALSE"),
            *("-CA", self.certificate.file, "-CAkey", self.certificate.key),
        )

    def _request(self, name: str, *options: str | Path) -> Certificate:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        made = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        command = ("openssl", "req", "-x509", *_EC, "-days", "2", *options)
        subprocess.run(
            [*command, "-out", made.file, "-keyout", made.key], check=True, capture_output=True
        )
        return made
