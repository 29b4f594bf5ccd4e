"""The settings: exactly the keys that Roadstead acts on, under their names in the file.

What distribution has beyond these is in ``roadstead.config.compat``, which says what becomes
of each key and hands only the keys below to these models. All models are frozen; durations
are timedelta, secrets are Secret. Section numbers are those of the registry facts, 1.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from roadstead.config.document import resolve
from roadstead.config.fields import LogLevel, Number, Required, Schedule, Section, Size
from roadstead.config.refusal import UnusableValueError
from roadstead.config.schema_access import AccessSettings, AuthSettings
from roadstead.config.schema_health import HealthSettings
from roadstead.config.schema_http import HTTPSettings
from roadstead.config.schema_notifications import NotificationSettings
from roadstead.config.schema_proxy import (
    MirrorSettings,
    NamedUpstreamSettings,
    ProxySettings,
    upstream_name,
)
from roadstead.config.schema_retention import RetentionSettings

DEFAULT_ENTRIES = 1000
MIN_THREADS = 25


class AccessLogSettings(Section):
    """The access log on stdout, in combined format."""

    disabled: bool = False


class AuditSettings(Section):
    """The lines that say who steered the mirror."""

    disabled: bool = False


class LogSettings(Section):
    """``log`` (1.1)."""

    level: LogLevel = "info"
    formatter: Literal["text", "json", "logstash"] = "text"
    fields: Annotated[dict[str, Any], BeforeValidator(resolve)] = Field(default_factory=dict)
    accesslog: AccessLogSettings = AccessLogSettings()
    audit: AuditSettings = AuditSettings()
    reportcaller: bool = False


class FilesystemSettings(Section):
    """``storage.filesystem`` (1.2)."""

    rootdirectory: Required = "/var/lib/registry"
    maxthreads: Number = 100

    @field_validator("maxthreads")
    @classmethod
    def _at_least(cls, value: int) -> int:
        """Raise what is lower to 25, as distribution does."""
        return max(value, MIN_THREADS)


class DeleteSettings(Section):
    """``storage.delete`` (1.3)."""

    enabled: bool = False


class ReadonlySettings(Section):
    """``storage.maintenance.readonly`` (1.3)."""

    enabled: bool = False


class MaintenanceSettings(Section):
    """``storage.maintenance`` (1.3)."""

    readonly: ReadonlySettings = ReadonlySettings()


class StorageSettings(Section):
    """``storage`` (1.2); the filesystem is the one driver of this version."""

    filesystem: FilesystemSettings = FilesystemSettings()
    delete: DeleteSettings = DeleteSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()

    @property
    def can_delete(self) -> bool:
        """Whether admins may delete over HTTP."""
        return self.delete.enabled and not self.maintenance.readonly.enabled


class VerifySettings(Section):
    """``verify``: hashing what is held again, in the background; the rate in bytes per second."""

    schedule: Schedule = ""
    rate: Size = 20_000_000


class CatalogSettings(Section):
    """``catalog`` (1.5)."""

    maxentries: Number = DEFAULT_ENTRIES

    @field_validator("maxentries")
    @classmethod
    def _positive(cls, value: int) -> int:
        """Read zero and less as the default, as distribution does."""
        return value if value > 0 else DEFAULT_ENTRIES


class TagsSettings(Section):
    """``tags`` (1.5)."""

    maxtags: Number = DEFAULT_ENTRIES

    @field_validator("maxtags")
    @classmethod
    def _not_negative(cls, value: int) -> int:
        """Read zero as the default; the text for less is distribution's."""
        if value < 0:
            message = "maxtags limit must be a non-negative integer value"
            raise UnusableValueError(message, fix="use 0 for the default of 1000")
        return value or DEFAULT_ENTRIES


class Settings(Section):
    """The whole configuration."""

    version: Literal["0.1"] = "0.1"
    log: LogSettings = LogSettings()
    storage: StorageSettings = StorageSettings()
    http: HTTPSettings = HTTPSettings()
    health: HealthSettings = HealthSettings()
    auth: AuthSettings = AuthSettings()
    access: AccessSettings = AccessSettings()
    catalog: CatalogSettings = CatalogSettings()
    tags: TagsSettings = TagsSettings()
    proxy: ProxySettings = ProxySettings()
    upstreams: dict[Annotated[str, AfterValidator(upstream_name)], NamedUpstreamSettings] = Field(
        default_factory=dict
    )
    mirror: MirrorSettings = MirrorSettings()
    retention: RetentionSettings = RetentionSettings()
    verify: VerifySettings = VerifySettings()
    notifications: NotificationSettings = NotificationSettings()

    @model_validator(mode="after")
    def _one_reader_of_authorization(self) -> Self:
        """Refuse two that would read the one Authorization header that a client can send."""
        if self.auth.is_set and self.access.checkupstream:
            message = "has both auth and access.checkupstream, and a client sends one credential"
            fix = "let the mirror's own callers in by access.rules, or drop access.checkupstream"
            raise UnusableValueError(message, fix=fix)
        return self
