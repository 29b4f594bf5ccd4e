"""``retention``: how much is kept and for how long, of everything and of one upstream."""

from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator

from roadstead.config.fields import Age, Schedule, Section, Share, Size, as_list
from roadstead.config.refusal import UnusableValueError
from roadstead.errors import InvalidReferenceError
from roadstead.oci.imagepattern import ImagePattern


def _image_pattern(value: str) -> str:
    try:
        ImagePattern.parse(value)
    except InvalidReferenceError:
        message = "is no pattern of images"
        fix = "write a reference with wildcards: docker.io/library/alpine:* or ghcr.io/org/**"
        raise UnusableValueError(message, fix=fix) from None
    return value


ImagePatterns: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_image_pattern)], ...], BeforeValidator(as_list)
]


class UpstreamRetentionSettings(Section):
    """``proxy.retention`` and ``upstreams.<name>.retention``: of one upstream's repositories.

    A zero is no limit; a ``maxage`` that is not set is the general one.
    """

    maxsize: Size | None = None
    maxage: Age | None = None


class RetentionSettings(Section):
    """``retention``: of everything. A zero is no limit.

    ``minfree`` None is the small default of roadstead.maintenance.limits, for what arrives.
    """

    maxsize: Size | None = None
    maxage: Age | None = None
    minfree: Share | None = None
    pins: ImagePatterns = ()
    schedule: Schedule = ""
    grace: Age = timedelta(minutes=5)
