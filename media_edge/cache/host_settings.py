"""Settings of a whole media-cache host on one machine, read from `MEDIA_*` variables by the entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.settings import explain


class HostSettings(BaseSettings):
    """Where Caddy serves and what it serves with; the upload service's settings come on top."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIA_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    bind: str = Field(default="127.0.0.1", description="Address that Caddy serves on; 0.0.0.0 for every one.")
    port: int = Field(default=8443, ge=0, le=65_535, description="HTTPS port. 0: a free one.")
    public_host: str = Field(
        default="",
        description="Host name or address under which consumers reach MEDIA_PORT; the certificate must name it. Empty: "
        "MEDIA_BIND.",
    )
    tls_cert_host_path: Path = Field(
        default=Path("/opt/services/media"),
        description="Folder with tls/fullchain.pem and tls/privkey.pem.",
    )
    run_dir: Path | None = Field(
        default=None,
        description="Folder for the sockets of `media_edge.cache up`. Empty: a temporary one.",
    )
    catalogue_dir: Path | None = Field(
        default=None,
        description="Folder for a Postgres of `media_edge.cache up`'s own, used where DATABASE_URL is empty. Empty: no "
        "catalogue then.",
    )
    cleanup_every_s: float = Field(
        default=0,
        ge=0,
        le=7 * 86_400,
        description="How often `media_edge.cache up` runs the clean-up by itself, in seconds. 0: never.",
    )
    caddy: str = Field(
        default="",
        description="Caddy's binary, 2.11 or newer. Empty: the one beside this Python, else the one in PATH.",
    )
    caddy_metrics_host: str = Field(
        default="127.0.0.1", description="Address of Caddy's own Prometheus endpoint."
    )
    caddy_metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="Its port. 0: a free one (under systemd 9181)."
    )
    read_metrics: Literal["", "metrics"] = Field(
        default="",
        description="`metrics` has Caddy count reads (hits, misses, bytes, latencies), for a tenth more CPU a read.",
    )

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is `given` wins over it.

        Raises:
            ConfigurationError: something is wrong.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise explain(error, cls) from None
