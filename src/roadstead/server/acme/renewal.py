"""Keeps a certificate fresh, as long as the mirror runs."""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from roadstead.server.acme.cupboard import Cupboard
from roadstead.server.acme.order import OrderFailedError, order_certificate
from roadstead.server.listener import Listener

_log = logging.getLogger("roadstead.acme")

_LOOK_EVERY_SECONDS: Final = 3600.0
# Let's Encrypt lets five orders of one account fail in an hour.
_FIRST_PAUSE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class AcmeRules:
    """What to order, where, and where the challenge is answered.

    ``host`` None is every address; ``port`` is what the server reaches as port 80.
    """

    directory_url: str
    email: str
    hosts: tuple[str, ...]
    host: str | None
    port: int


class Renewal:
    """Orders a certificate when one is due, and tells when it has come."""

    def __init__(
        self,
        rules: AcmeRules,
        cupboard: Cupboard,
        *,
        renewed: Callable[[], object],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """Call ``renewed`` after each new certificate."""
        self._rules = rules
        self._cupboard = cupboard
        self._renewed = renewed
        self._sleep = sleep
        self._now = now
        self._answers: dict[str, str] = {}

    async def run(self) -> None:
        """Order and renew until cancelled; trouble is logged, and tried again later."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if not self._cupboard.renewal_due(list(self._rules.hosts), self._now()):
                pause = _FIRST_PAUSE_SECONDS
                await self._sleep(_LOOK_EVERY_SECONDS)
                continue
            try:
                await self.order()
            except (OrderFailedError, OSError) as error:
                _log.error(
                    "no certificate from the ACME server",
                    extra={"fields": {"error": str(error), "next_try_seconds": pause}},
                )
                await self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def order(self) -> None:
        """Order a certificate now.

        Raises:
            OrderFailedError: see ``order_certificate``.
            OSError: the port of the challenge is taken, or the files cannot be written.
        """
        rules = self._rules
        listener = Listener(self._challenged, drain_seconds=1.0)
        try:
            await listener.listen_tcp(rules.host, rules.port)
            certificate, key = await asyncio.to_thread(
                order_certificate,
                directory_url=rules.directory_url,
                email=rules.email,
                hosts=rules.hosts,
                account=self._cupboard.account,
                answers=self._answers,
            )
        finally:
            self._answers.clear()
            await listener.aclose()
        self._cupboard.put(certificate, key)
        _log.info("new certificate", extra={"fields": {"hosts": ", ".join(rules.hosts)}})
        self._renewed()

    async def _challenged(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = self._answers.get(request.path)
        headers = {"Server": "roadstead"}
        if answer is None or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="404 page not found\n", headers=headers)
        return web.Response(text=answer, headers=headers)
