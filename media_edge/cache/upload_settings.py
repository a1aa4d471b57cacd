"""Settings of the upload service, read from `MEDIA_*` variables by the entry point, never at import."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.media_cache.wire import MAX_OBJECT_BYTES
from livedub.settings import explain
from media_edge.cache.token_source import TokenSource

_LONGEST_SOCKET_PATH = 107
"""unix(7): sun_path has 108 bytes, the last one is zero."""


class _TokenVariables(BaseSettings):
    """Whether anything is said about tokens at all."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_", extra="ignore", env_ignore_empty=True)

    upload_token: str = ""
    upload_tokens: str = ""
    upload_tokens_file: Path | None = None
    auth_disabled: bool = False


class UploadSettings(BaseSettings):
    """Who may write, where to, and how much at once."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIA_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    upload_token: SecretStr = Field(
        default=SecretStr(""), description="The token that a writer sends as `Authorization: Bearer`."
    )
    upload_tokens: SecretStr = Field(
        default=SecretStr(""),
        description="Further tokens, name=token,name=token: give every writer one of its own and rotate them one by "
        "one.",
    )
    upload_tokens_file: Path | None = Field(
        default=None,
        description="File with further ones, a line name=token each: what it holds is good as soon as another file is in "
        "its place.",
    )
    auth_disabled: bool = Field(
        default=False, description="Let anybody write, without a token. For a host that nobody else reaches."
    )
    data_dir: Path = Field(
        default=Path("/mnt/media-data"),
        description="Folder of the objects, on a local volume of its own (ext4 or XFS, no NFS).",
    )
    require_mount: bool = Field(
        default=False,
        description="Refuse to start where MEDIA_DATA_DIR is no mount point: a volume that failed to mount must not "
        "fill the disk below it.",
    )
    socket: Path = Field(
        default=Path("/run/livedub-media-upload/upload.sock"),
        description="Unix socket that the upload service listens on and Caddy forwards PUT and DELETE to.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="DATABASE_URL",
        description="Postgres with the catalogue. Empty: no catalogue, only objects.",
    )
    require_metadata: bool = Field(
        default=False, description="Refuse uploads without X-Livedub-Metadata, which have no catalogue row."
    )
    body_deadline_ms: int = Field(
        default=10_000,
        ge=100,
        le=20_000,
        description="How long a whole request body may take to arrive. Must stay below Caddy's read_body of 20 s.",
    )
    commit_deadline_ms: int = Field(
        default=15_000,
        ge=100,
        le=30_000,
        description="How long disk and catalogue may take for one object; then the answer is 503.",
    )
    max_body_bytes: int = Field(
        default=MAX_OBJECT_BYTES, ge=1, le=MAX_OBJECT_BYTES, description="The largest object taken."
    )
    drain_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=0,
        le=256 * 1024 * 1024,
        description="How much of a refused body is read before the refusal is sent: an answer to a client that still "
        "sends is lost on the way.",
    )
    max_uploads: int = Field(
        default=4_096, ge=1, le=60_000, description="Uploads at once; further ones are answered 503."
    )
    buffer_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for bodies that are arriving, all together; beyond it they go to the disk in small pieces.",
    )
    io_threads: int = Field(
        default=32,
        ge=1,
        le=256,
        description="Threads that write to disk and catalogue: what is forced to a disk at the same time shares the "
        "work.",
    )
    min_free_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="With less free space on the volume, /ready answers 503."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of the Prometheus endpoint.")
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="Port of the Prometheus endpoint. 0: none."
    )
    https_address: str = Field(
        default="127.0.0.1:8443",
        description="HOST:PORT on which Caddy serves; whose certificate the metrics watch.",
    )
    drain_timeout_s: int = Field(
        default=12,
        ge=0,
        le=120,
        description="How long uploads under way may take to end when the service stops.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    log_style: Literal["json", "plain"] = Field(default="json", description="Form of a log line.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = bool(
            self.upload_token.get_secret_value()
            or self.upload_tokens.get_secret_value()
            or self.upload_tokens_file
        )
        if not given and not self.auth_disabled:
            raise ValueError(
                "MEDIA_UPLOAD_TOKEN is missing (openssl rand -hex 32 makes one; MEDIA_AUTH_DISABLED=true lets anybody "
                "write)"
            )
        if given and self.auth_disabled:
            raise ValueError("MEDIA_AUTH_DISABLED and MEDIA_UPLOAD_TOKEN contradict each other: unset one")
        if len(str(self.socket).encode()) > _LONGEST_SOCKET_PATH:
            raise ValueError(f"MEDIA_SOCKET is longer than {_LONGEST_SOCKET_PATH} bytes")
        return self

    def tokens(self) -> TokenSource | None:
        """The tokens that may write; None where anybody may.

        Raises:
            ConfigurationError: a token or name is malformed, or the file cannot be read.
        """
        if self.auth_disabled:
            return None
        return TokenSource(
            self.upload_token.get_secret_value(),
            self.upload_tokens.get_secret_value(),
            self.upload_tokens_file,
        )

    @classmethod
    def _token_of_need(cls, token: str) -> dict[str, Any]:
        if not token:
            return {}
        asked = _TokenVariables()
        return (
            {}
            if asked.upload_token or asked.upload_tokens or asked.upload_tokens_file or asked.auth_disabled
            else {"upload_token": token}
        )

    @classmethod
    def load(cls, *, make_token: str = "", **given: Any) -> Self:
        """Read the environment; what is `given` wins over it.

        Args:
            make_token: the token where none is set and authentication is not disabled.
            given: fields by name.

        Raises:
            ConfigurationError: something is missing or wrong.
        """
        try:
            return cls(**given, **cls._token_of_need(make_token))
        except ValidationError as error:
            raise explain(error, cls) from None
