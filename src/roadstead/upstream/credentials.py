"""Where the upstream's credentials come from: a source, since passwords may be short-lived.

ECR's last 12 hours, Google's one hour (facts/protocol.md, section 4, item 9).
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from roadstead.errors import UpstreamUnauthorizedError
from roadstead.oci.reference import RepositoryName
from roadstead.secrecy import Secret

# The user name by which a helper marks its secret as an identity token.
IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a marker

_NOT_FOUND = "credentials not found in native keychain"
_MAX_OUTPUT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, or an identity token, or a ready token for the registry.

    The last one is ``registrytoken`` of Docker's config.json: ``is_bearer`` says that the
    password is sent as it is, and that no token server is asked.
    """

    username: str
    password: Secret
    is_bearer: bool = field(default=False, kw_only=True)

    @property
    def is_identity_token(self) -> bool:
        """Whether the password is a refresh token for the token server."""
        return self.username == IDENTITY_TOKEN_USER

    @property
    def identity(self) -> str:
        """A name for these credentials that tells nothing of them."""
        text = f"{self.is_bearer}\0{self.username}\0{self.password.reveal()}"
        return hashlib.sha256(text.encode()).hexdigest()


def basic(credentials: Credentials) -> Secret:
    """Write credentials as a Basic Authorization header."""
    pair = f"{credentials.username}:{credentials.password.reveal()}"
    return Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")


class CredentialSource(Protocol):
    """Gives the credentials that are good now."""

    async def get(self, repository: RepositoryName) -> Credentials | None:
        """Return the credentials for a repository; None stands for anonymous.

        Raises:
            UpstreamUnauthorizedError: there should be some, and they cannot be had.
        """


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Credentials from the configuration; None stands for anonymous."""

    credentials: Credentials | None = None

    async def get(self, _repository: RepositoryName) -> Credentials | None:
        """Return them."""
        return self.credentials


@dataclass(slots=True, kw_only=True)
class ExecCredentials:
    """A Docker credential helper, asked with ``get`` (docker-credential-helpers, "Development").

    ``server`` is what it is asked about. ``lifetime_seconds`` as in distribution's
    ``proxy.exec.lifetime``: None asks once, 0 asks each time, else the answer is used for so
    long. One run at a time; a failure is not remembered.
    """

    command: str
    server: str
    lifetime_seconds: float | None
    timeout_seconds: float = 30
    clock: Callable[[], float] = time.monotonic
    _held: Credentials | None = None
    _asked_at: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, _repository: RepositoryName) -> Credentials | None:
        """Return what the helper says, or said.

        Raises:
            UpstreamUnauthorizedError: it could not be run, failed, or made no sense.
        """
        async with self._lock:
            if not self._is_current():
                self._held = await self._ask()
                self._asked_at = self.clock()
            return self._held

    def _is_current(self) -> bool:
        if self._asked_at is None:
            return False
        return (
            self.lifetime_seconds is None or self.clock() - self._asked_at < self.lifetime_seconds
        )

    async def _ask(self) -> Credentials | None:
        try:
            process = await asyncio.create_subprocess_exec(
                self.command,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            message = "cannot be run"
            raise self._failure(message) from error
        try:
            async with asyncio.timeout(self.timeout_seconds):
                output, _ = await process.communicate(self.server.encode())
        except TimeoutError as error:
            message = f"took longer than {self.timeout_seconds:g} s"
            raise self._failure(message) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            if _NOT_FOUND in output.decode(errors="replace"):
                return None
            message = f"ended with status {process.returncode}"
            raise self._failure(message)
        return self._read(output)

    def _read(self, output: bytes) -> Credentials | None:
        # What the helper printed may be the secret, so no error repeats or chains it.
        try:
            answer = json.loads(output[:_MAX_OUTPUT_BYTES])
            username, secret = answer["Username"], answer["Secret"]
        except (ValueError, TypeError, KeyError):
            message = "gave no Username and Secret"
            raise self._failure(message) from None
        if not isinstance(username, str) or not isinstance(secret, str):
            message = "gave no Username and Secret"
            raise self._failure(message)
        if not username and not secret:
            # Some helpers say so that they have none, and Docker takes it so.
            return None
        return Credentials(username, Secret(secret))

    def _failure(self, what: str) -> UpstreamUnauthorizedError:
        message = f"the credential helper {self.command} {what}"
        return UpstreamUnauthorizedError(message, upstream=self.server)
