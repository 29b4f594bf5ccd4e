"""The token server that docker-registry's ``auth.token`` asks for, in a thread of the test.

It speaks the GET flow of distribution's token specification and signs with RS256. openssl
makes the key and the signatures, so that the tests need no cryptography package.
"""

import base64
import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

ISSUER = "the test's token server"
SERVICE = "the test's registry"
_LIFE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Account:
    """Who may do what in every repository."""

    password: str
    actions: frozenset[str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request that was answered; ``user`` is empty for an anonymous one."""

    user: str
    scopes: tuple[str, ...]
    status: int


@dataclass(slots=True)
class TokenServer:
    """A running token server; its ``requests`` grow as they arrive."""

    realm: str
    certificate: Path
    requests: list[TokenRequest] = field(default_factory=list)

    @property
    def registry_auth(self) -> dict[str, dict[str, str]]:
        """The registry's ``auth`` section."""
        return {
            "token": {
                "realm": self.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self.certificate),
            }
        }


@contextmanager
def start_token_server(
    directory: Path, accounts: Mapping[str, Account], *, anonymous: frozenset[str] = frozenset()
) -> Iterator[TokenServer]:
    """Give tokens to ``accounts``, and for the actions ``anonymous`` to anybody.

    The key and the certificate are made in ``directory``. Whoever may do nothing gets 401.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    signer = _Signer(directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as httpd:
        server = TokenServer(f"http://127.0.0.1:{httpd.server_port}/token", signer.certificate)
        desk = _Desk(accounts, anonymous, signer, server.requests)
        httpd.RequestHandlerClass = _handler_for(desk)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()


class _Signer:
    """An RSA key and its self-signed certificate."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self._key = directory / "token.crt", directory / "token.key"
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=token server", "-keyout", self._key, "-out", self.certificate),
        )
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        chain = [base64.b64encode(der).decode()]
        self._header = _segment({"typ": "JWT", "alg": "RS256", "x5c": chain})

    def sign(self, claims: Mapping[str, object]) -> str:
        """Write a JWT of these claims."""
        signed = f"{self._header}.{_segment(claims)}"
        signature = _openssl("dgst", "-sha256", "-sign", self._key, stdin=signed.encode())
        return f"{signed}.{_unpadded(signature)}"


@dataclass(frozen=True, slots=True)
class _Desk:
    """Decides about requests for tokens."""

    accounts: Mapping[str, Account]
    anonymous: frozenset[str]
    signer: _Signer
    requests: list[TokenRequest]

    def answer(self, query: str, authorization: str) -> tuple[int, dict[str, object]]:
        """Return the status and the document for one request."""
        scopes = tuple(parse_qs(query).get("scope", []))
        user, admitted = self._identify(authorization)
        access = [_grant(scope, admitted) for scope in scopes]
        status = HTTPStatus.OK if admitted else HTTPStatus.UNAUTHORIZED
        self.requests.append(TokenRequest(user, scopes, int(status)))
        if not admitted:
            return status, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "nbf": now - 10,
            "iat": now,
            "exp": now + _LIFE_SECONDS,
            "access": access,
        }
        return status, {"token": self.signer.sign(claims), "expires_in": _LIFE_SECONDS}

    def _identify(self, authorization: str) -> tuple[str, frozenset[str]]:
        scheme, _, value = authorization.partition(" ")
        if scheme != "Basic":
            return "", self.anonymous
        user, _, password = base64.b64decode(value).decode().partition(":")
        account = self.accounts.get(user)
        if account is None or account.password != password:
            return user, frozenset()
        return user, account.actions


def _grant(scope: str, actions: frozenset[str]) -> dict[str, object]:
    # A name may hold colons: split at the first and the last one.
    kind, _, rest = scope.partition(":")
    name, _, wanted = rest.rpartition(":")
    return {"type": kind, "name": name, "actions": sorted(actions & set(wanted.split(",")))}


def _handler_for(desk: _Desk) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET for the desk."""

        def do_GET(self) -> None:
            """Hand out a token, or refuse."""
            query, authorization = urlsplit(self.path).query, self.headers.get("Authorization", "")
            status, document = desk.answer(query, authorization)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Stay silent; the requests are recorded."""

    return Handler


def _segment(document: Mapping[str, object]) -> str:
    return _unpadded(json.dumps(document).encode())


def _unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
