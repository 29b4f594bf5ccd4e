"""Times at which something recurs, in cron's five fields: ``0 3 * * 0`` is Sundays at three."""

from collections.abc import Iterator
from datetime import datetime

from cronsim import CronSim, CronSimError

from roadstead.config.refusal import UnusableValueError

_FIELDS = 5


def check_cron(text: str) -> str:
    """Check an expression; returns it without surplus blanks. Empty: never.

    Raises:
        UnusableValueError: it is none, or its time never comes.
    """
    fields = text.split()
    if not fields:
        return ""
    fix = "write minute, hour, day, month and weekday: 0 3 * * 0 is Sundays at 3:00"
    if len(fields) != _FIELDS:
        message = "is no cron expression: it has five fields"
        raise UnusableValueError(message, fix=fix)
    expression = " ".join(fields)
    try:
        next(CronSim(expression, datetime(2000, 1, 1)))  # noqa: DTZ001 - see next_time
    except (CronSimError, StopIteration) as error:
        message = f"is no cron expression: {str(error) or 'its time never comes'}"
        raise UnusableValueError(message, fix=fix) from None
    return expression


def next_time(expression: str, after: float) -> float:
    """Return the next time behind ``after`` (seconds since the epoch), in the local time zone.

    Reckoned in the clock's own time, as a person reads it: where summer time skips a time, it
    is the hour behind; where a time comes twice, it is the first one.
    """
    for moment in _moments(expression, after):
        at = moment.timestamp()
        if at > after:
            return at
    message = f"the time of {expression!r} never comes"
    raise ValueError(message)


def _moments(expression: str, after: float) -> Iterator[datetime]:
    return CronSim(expression, datetime.fromtimestamp(after))  # noqa: DTZ006 - local on purpose
