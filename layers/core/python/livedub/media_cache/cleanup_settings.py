"""Settings of the clean-up, read by an entry point, never at import; the cache itself is in `consumer_settings`."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class MediaCleanupSettings(BaseSettings):
    """Where the catalogue is, and how fast to go. Deleting takes TTS_MEDIA_CACHE_BASE_URL, _UPLOAD_TOKEN, _CA_BUNDLE."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIA_CLEANUP_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    database_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="DATABASE_URL",
        description="Postgres with the catalogue, postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    )
    database_secret: str = Field(
        default="",
        description="Secret of Secrets Manager with the catalogue's address as RDS writes it; wins over DATABASE_URL.",
    )
    token_secret: str = Field(
        default="",
        description="Secret of Secrets Manager with TTS_MEDIA_CACHE_UPLOAD_TOKEN; wins over the variable.",
    )
    bundle_prefix: str = Field(
        default="",
        pattern=r"^(?:(?:/[A-Za-z0-9_.-]+)+)?$",
        description="The host's MEDIA_CONSUMER_PREFIX: below it is TTS_MEDIA_CACHE_CA_BUNDLE in SSM, which then wins over "
        "the variable.",
    )
    batch_rows: int = Field(
        default=100,
        ge=1,
        le=1_000,
        description="Rows whose objects are deleted under one lock; an upload of one of them waits, or is refused "
        "for the moment.",
    )
    parallel: int = Field(default=8, ge=1, le=64, description="Deletions at once.")
    budget_s: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="How long one run may take, in seconds; what is left is the next one's. A Lambda function also "
        "stops half a minute before its time-out.",
    )
    orphan_age_s: float = Field(
        default=24 * 3_600.0,
        ge=0,
        description="How old an object without a row must be, in seconds, before it is reported or swept.",
    )
