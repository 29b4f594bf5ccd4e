"""``notifications`` (registry facts, 1.7): who is told of pulls and deletions."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from roadstead.config.fields import Count, Duration, Required, SecretText, Section, Texts, as_list
from roadstead.config.refusal import UnusableValueError

DEFAULT_THRESHOLD = 10


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        message = "is not an http or https URL"
        raise UnusableValueError(message, fix="use a URL such as https://listener.corp/events")
    return value


def _wait(value: timedelta) -> timedelta:
    """Read zero as one second, as distribution does."""
    return value or timedelta(seconds=1)


class IgnoreSettings(Section):
    """``notifications.endpoints[].ignore``."""

    mediatypes: Texts = ()
    actions: Texts = ()


class EndpointSettings(Section):
    """``notifications.endpoints[]``; header values are secrets, as they often hold one."""

    name: Required
    disabled: bool = False
    url: Annotated[str, AfterValidator(_http_url)]
    headers: dict[str, Annotated[tuple[SecretText, ...], BeforeValidator(as_list)]] = Field(
        default_factory=dict
    )
    timeout: Annotated[Duration, AfterValidator(_wait)] = timedelta(seconds=1)
    threshold: Count = DEFAULT_THRESHOLD
    backoff: Annotated[Duration, AfterValidator(_wait)] = timedelta(seconds=1)
    ignoredmediatypes: Texts = ()
    ignore: IgnoreSettings = IgnoreSettings()
    envelope: Literal["v1", "v2"] = "v1"


class NotificationSettings(Section):
    """``notifications``."""

    endpoints: tuple[EndpointSettings, ...] = ()
