"""One order of a certificate, by the HTTP-01 challenge; blocks, so it runs in a thread."""

import datetime as dt
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Final

from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives.asymmetric import rsa
from josepy.errors import Error as KeyFormatError
from josepy.jwk import JWKRSA
from requests import RequestException

from roadstead import __version__
from roadstead.server.acme.cupboard import new_key, write_private

_PATIENCE: Final = dt.timedelta(minutes=3)
_CALL_SECONDS: Final = 30


class OrderFailedError(Exception):
    """There is no certificate; the text says why, and holds no key and no token."""


def order_certificate(
    *,
    directory_url: str,
    email: str,
    hosts: Sequence[str],
    account: Path,
    answers: MutableMapping[str, str],
) -> tuple[bytes, bytes]:
    """Order a certificate; return its chain and its key, as PEM.

    ``account`` keeps the account's key between orders. While the order runs, what is in
    ``answers`` (by path) must be served on port 80 of every host.

    Raises:
        OrderFailedError: the server refused, cannot be reached, or did not see the answers.
    """
    try:
        server = _log_in(directory_url, email, account)
        key = new_key()
        order = server.new_order(crypto_util.make_csr(key, domains=list(hosts)))
        for authorization in order.authorizations:
            _answer(server, authorization, answers)
        done = server.poll_and_finalize(order, dt.datetime.now() + _PATIENCE)  # noqa: DTZ005 - as the library counts
    except errors.ValidationError as error:
        raise OrderFailedError(_reasons(error)) from None
    except (errors.Error, messages.Error, KeyFormatError, RequestException) as error:
        raise OrderFailedError(str(error) or type(error).__name__) from None
    return done.fullchain_pem.encode(), key


def _log_in(directory_url: str, email: str, account: Path) -> client.ClientV2:
    network = client.ClientNetwork(
        _account_key(account), user_agent=f"roadstead/{__version__}", timeout=_CALL_SECONDS
    )
    directory = client.ClientV2.get_directory(directory_url, network)
    server = client.ClientV2(directory, network)
    wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        server.new_account(wanted)
    except errors.ConflictError as known:
        body = messages.Registration()
        network.account = messages.RegistrationResource(uri=known.location, body=body)
    return server


def _account_key(path: Path) -> JWKRSA:
    try:
        return JWKRSA.json_loads(path.read_text())
    except (OSError, ValueError, KeyFormatError):
        key = JWKRSA(key=rsa.generate_private_key(65537, 2048))
        write_private(path, key.json_dumps().encode())
        return key


def _answer(
    server: client.ClientV2,
    authorization: messages.AuthorizationResource,
    answers: MutableMapping[str, str],
) -> None:
    if authorization.body.status == messages.STATUS_VALID:
        # Proved for an earlier order; servers reuse that for a while (RFC 8555, 7.4).
        return
    for offered in authorization.body.challenges:
        if isinstance(offered.chall, challenges.HTTP01):
            response, validation = offered.response_and_validation(server.net.key)
            answers[offered.chall.path] = validation
            server.answer_challenge(offered, response)
            return
    message = f"the server offers no HTTP-01 challenge for {authorization.body.identifier.value}"
    raise OrderFailedError(message)


def _reasons(error: errors.ValidationError) -> str:
    reasons = [
        f"{authorization.body.identifier.value}: {offered.error.detail}"
        for authorization in error.failed_authzrs
        for offered in authorization.body.challenges
        if offered.error is not None
    ]
    return "; ".join(reasons) or "the server did not see the answer to its challenge"
