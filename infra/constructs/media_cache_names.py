"""What a media-cache host, its consumers and its clean-up find each other by; docs/media-cache.md has the table."""

from __future__ import annotations

from dataclasses import dataclass

from infra.config import EnvironmentConfig


@dataclass(frozen=True, slots=True)
class MediaCacheNames:
    """Names of one environment's parameters and secrets."""

    environment: str
    address: str
    port: int

    @classmethod
    def of(cls, config: EnvironmentConfig) -> MediaCacheNames:
        """Those of `config`."""
        return cls(config.name, config.media_cache.private_ip, config.media_cache.port)

    @property
    def namespace(self) -> str:
        """NAMESPACE of the host."""
        return f"livedub/{self.environment}"

    @property
    def consumer_prefix(self) -> str:
        """MEDIA_CONSUMER_PREFIX: where consumers read theirs."""
        return f"/{self.namespace}"

    @property
    def base_url(self) -> str:
        """TTS_MEDIA_CACHE_BASE_URL."""
        return f"https://{self.address}:{self.port}"

    def parameter(self, name: str) -> str:
        """The parameter that the host's variable `name` is in."""
        return f"/{self.namespace}/media/{name}"

    def consumer_parameters(self, name: str) -> list[str]:
        """The parameters that the consumers' variable `name` is in."""
        return [f"{self.consumer_prefix}/{consumer}/{name}" for consumer in ("voice", "api")]

    @property
    def secret(self) -> str:
        """The host's own secret, with MEDIA_TLS_PRIVKEY_B64 and MEDIA_UPLOAD_TOKEN."""
        return f"{self.namespace}/media/secrets"

    @property
    def voice_secret(self) -> str:
        """The secret with the writers' TTS_MEDIA_CACHE_UPLOAD_TOKEN."""
        return f"{self.namespace}/voice/secrets"
