"""Where the cache host's TLS material comes from: variables, or the same names kept in AWS."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.errors import ConfigurationError
from livedub.media_cache.parameter_store import ParameterStore
from livedub.settings import explain


class SettingsSource(str, Enum):
    """Who holds the variables that differ from host to host."""

    ENV = "env"
    AWS = "aws"
    """SSM Parameter Store `/<NAMESPACE>/media/<NAME>` and Secrets Manager `<NAMESPACE>/media/secrets`."""


class MediaTlsSettings(BaseSettings):
    """Certificate, key, and whom they are for."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIA_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    settings_source: SettingsSource = Field(
        default=SettingsSource.ENV,
        description="env: the variables here. aws: what SSM and Secrets Manager hold under NAMESPACE wins over them.",
    )
    namespace: str = Field(
        default="",
        validation_alias="NAMESPACE",
        pattern=r"^(?:[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*)?$",
        description="First part of the names in SSM (/NAMESPACE/media/...) and Secrets Manager "
        "(NAMESPACE/media/secrets).",
    )
    tls_fullchain_b64: str = Field(
        default="",
        description="The certificate chain, leaf first: base64 of PEM on one line (base64 -w0). Only together with "
        "MEDIA_TLS_PRIVKEY_B64.",
    )
    tls_privkey_b64: SecretStr = Field(
        default=SecretStr(""), description="Its key: base64 of PEM without a passphrase, on one line."
    )
    tls_cert_host_path: Path = Field(
        default=Path("/opt/services/media"),
        description="Folder whose tls/fullchain.pem and tls/privkey.pem Caddy serves with.",
    )
    tls_san_dns: str = Field(
        default="",
        description="Names, comma separated, that a certificate made here is for, besides the address.",
    )
    private_ip: str = Field(
        default="",
        validation_alias="PRIVATE_IP",
        description="Addresses, comma separated, by which consumers reach the host; a certificate made here is for "
        "them.",
    )
    tls_private_ca: bool = Field(
        default=False,
        description="Make certificates of 30 days by an authority of this host's own instead of a self-signed one: "
        "consumers trust the authority, and a new certificate changes nothing for them.",
    )
    consumer_prefix: str = Field(
        default="",
        pattern=r"^(?:(?:/[A-Za-z0-9_.-]+)+)?$",
        description="Where consumers read their bundle in SSM, such as /voiceai/prod: rotation publishes to "
        "voice/TTS_MEDIA_CACHE_CA_BUNDLE and api/TTS_MEDIA_CACHE_CA_BUNDLE below it. Empty: publish nothing.",
    )
    caddy_admin_socket: Path = Field(
        default=Path("/run/livedub-media-caddy/admin.sock"),
        description="Unix socket of Caddy's admin API, where rotation has the certificate loaded again.",
    )
    https_address: str = Field(
        default="127.0.0.1:8443",
        description="HOST:PORT on which Caddy serves; whose certificate the metrics watch.",
    )

    @property
    def tls_folder(self) -> Path:
        """The folder that holds `fullchain.pem`."""
        return self.tls_cert_host_path / "tls"

    @property
    def ca_folder(self) -> Path:
        """The folder of the private authority."""
        return self.tls_cert_host_path / "ca"

    @property
    def next_folder(self) -> Path:
        """The folder of a pair that consumers are being told of, and that is not served yet."""
        return self.tls_cert_host_path / "next"

    @property
    def ips(self) -> list[str]:
        """`private_ip`, taken apart."""
        return _listed(self.private_ip)

    @property
    def dns(self) -> list[str]:
        """`tls_san_dns`, taken apart."""
        return _listed(self.tls_san_dns)

    @classmethod
    def load(cls, values: Mapping[str, str] | None = None) -> MediaTlsSettings:
        """Read the environment; `values` (by variable name, without empty ones) win over it.

        Raises:
            ConfigurationError: something is malformed.
        """
        given = {
            name.lower().removeprefix("media_"): value for name, value in (values or {}).items() if value
        }
        try:
            return cls(**given)  # pyright: ignore[reportArgumentType]
        except ValidationError as error:
            raise explain(error, cls) from None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def load_media_tls_settings() -> MediaTlsSettings:
    """The environment, and over it what AWS holds where MEDIA_SETTINGS_SOURCE says so.

    Raises:
        ConfigurationError: something is malformed, or NAMESPACE is missing.
        StoreUnavailableError: AWS does not answer, or refuses.
    """
    settings = MediaTlsSettings.load()
    if settings.settings_source is SettingsSource.ENV:
        return settings
    if not settings.namespace:
        raise ConfigurationError(
            "MEDIA_SETTINGS_SOURCE=aws needs NAMESPACE.", remedy="Set it, such as voiceai."
        )
    return MediaTlsSettings.load(ParameterStore.connect().media_variables(settings.namespace))
