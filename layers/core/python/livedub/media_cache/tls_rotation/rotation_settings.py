"""Settings of the functions of `rotate_tls`, read by their entry points, never at import."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_HTTPS_PORT = 443
_MOST_LOOKS = 1_000


class _RotationSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="MEDIA_TLS_ROTATION_",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        populate_by_name=True,
    )


class TlsStoresSettings(_RotationSettings):
    """Of the function settle_tls_stores, and of every other: where certificate and key are."""

    namespace: str = Field(
        validation_alias="NAMESPACE",
        pattern=r"^[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*$",
        description="First part of the names in SSM (/NAMESPACE/media/...) and Secrets Manager "
        "(NAMESPACE/media/secrets).",
    )


class TlsStartSettings(TlsStoresSettings):
    """Of the function start_tls_rotation."""

    machine_arn: str = Field(description="The state machine rotate_tls.")


class TlsConsumersSettings(TlsStoresSettings):
    """Of whoever reads or writes what consumers trust."""

    consumer_prefix: str = Field(
        validation_alias="MEDIA_CONSUMER_PREFIX",
        pattern=r"^(?:/[A-Za-z0-9_.-]+)+$",
        description="The host's MEDIA_CONSUMER_PREFIX: consumers' bundles are below it in SSM.",
    )


class TlsPublishSettings(TlsConsumersSettings):
    """Of the function publish_tls_bundle."""

    settle_s: int = Field(
        default=120,
        ge=0,
        le=86_400,
        description="How long consumers have, in seconds, to read a changed bundle before the host serves what is new "
        "in it: more than the time between two of their looks.",
    )


class TlsCheckSettings(TlsConsumersSettings):
    """Of the function check_tls."""

    base_url: str = Field(
        validation_alias="TTS_MEDIA_CACHE_BASE_URL",
        description="The host's address as consumers know it: its certificate is looked at there.",
    )
    poll_s: int = Field(
        default=10,
        ge=1,
        le=300,
        description="How often, in seconds, the stores are looked at while certificate and key do not match.",
    )
    pair_wait_s: int = Field(
        default=900,
        ge=1,
        le=86_400,
        description="How long, in seconds, certificate and key may not match while they are being changed one after "
        "the other; then both stores go back.",
    )
    drop_after_s: int = Field(
        default=3_600,
        ge=0,
        le=604_800,
        description="How long, in seconds, what vouched for the old certificate stays in the bundles.",
    )

    @field_validator("base_url")
    @classmethod
    def _one_address(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme != "https" or not parts.hostname or "," in value:
            raise ValueError("it is not one address https://HOST:PORT")
        return value.strip()

    @model_validator(mode="after")
    def _bounded_looks(self) -> TlsCheckSettings:
        # Each is ten events of the at most 25,000 of one execution.
        if self.pair_wait_s > _MOST_LOOKS * self.poll_s:
            raise ValueError(
                f"pair_wait_s {self.pair_wait_s} is more than {_MOST_LOOKS} looks of poll_s {self.poll_s}"
            )
        return self

    @property
    def host(self) -> str:
        """Whom the certificate must be for."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def port(self) -> int:
        """Where it is served."""
        return urlsplit(self.base_url).port or _HTTPS_PORT


class TlsRotationSettings(TlsStartSettings, TlsPublishSettings, TlsCheckSettings):
    """Every variable of the four functions; each of them reads its own class."""
