"""Starts the couriers of notification endpoints, and feeds them from answered requests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from roadstead.config.schema import Settings
from roadstead.config.schema_notifications import EndpointSettings
from roadstead.telemetry.answered import Exchange, ExchangeLog, Whole
from roadstead.telemetry.delivery import Courier, Endpoint
from roadstead.telemetry.events import Observer
from roadstead.telemetry.notifications import Ignored, Source, event_of

# What waits at the end gets this long, all endpoints together; a listener that is gone must not
# hold up a restart.
_CLOSING_SECONDS = 2.0


@contextmanager
def notifying(
    settings: Settings, instance_id: str, observe: Observer
) -> Iterator[ExchangeLog | None]:
    """Give what tells the configured endpoints of a request; None if there is none."""
    configured = [one for one in settings.notifications.endpoints if not one.disabled]
    if not configured:
        yield None
        return
    couriers = [Courier(_endpoint(one), observe=observe) for one in configured]
    address = settings.http.address
    source = Source.here(
        port=getattr(address, "port", None),
        instance_id=instance_id,
        base_url=settings.http.host,
        scheme="https" if settings.http.tls.enabled else "http",
    )
    try:
        yield Whole(_teller(couriers, source))
    finally:
        for courier in couriers:
            courier.close(_CLOSING_SECONDS / len(couriers))


def _teller(couriers: Sequence[Courier], source: Source) -> Callable[[Exchange], None]:
    def tell(exchange: Exchange) -> None:
        event = event_of(exchange, source=source, at=datetime.now(UTC))
        if event is not None:
            for courier in couriers:
                courier.accept(event)

    return tell


def _endpoint(given: EndpointSettings) -> Endpoint:
    return Endpoint(
        name=given.name,
        url=given.url,
        headers={
            name: [secret.reveal() for secret in values] for name, values in given.headers.items()
        },
        timeout=given.timeout.total_seconds(),
        threshold=given.threshold,
        backoff=given.backoff.total_seconds(),
        ignored=Ignored(
            media_types=frozenset((*given.ignoredmediatypes, *given.ignore.mediatypes)),
            actions=frozenset(given.ignore.actions),
        ),
        envelope=given.envelope,
    )
