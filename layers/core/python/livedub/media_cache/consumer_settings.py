"""Settings of whoever reads or fills the media cache, read from `TTS_MEDIA_CACHE_*` by an entry point, never at import."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.loopback import is_loopback
from livedub.media_cache.key import Variant
from livedub.settings import explain


class MediaCacheSettings(BaseSettings):
    """Where the cache is, how it is trusted, and how long a dub may wait for it."""

    model_config = SettingsConfigDict(
        env_prefix="TTS_MEDIA_CACHE_", extra="ignore", frozen=True, env_ignore_empty=True
    )

    base_url: str = Field(
        default="",
        description="Address of the media cache, https://HOST:8443; several, separated by commas, share the keys "
        "among them. Empty: no cache.",
    )
    upload_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer token for uploads; empty only reads.",
    )
    ca_bundle: str = Field(
        default="",
        repr=False,
        description="What vouches for the cache: base64 of PEM on one line (`livedub media tls-init --print-bundle`), "
        "or PEM. Empty trusts the machine's own authorities.",
    )
    lookup_ms: int = Field(
        default=20,
        ge=1,
        le=1_000,
        description="Longest that a dub waits for the cache; an answer that comes later is not used.",
    )
    deadline_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="Longest that one exchange with the cache may take."
    )
    admit_on_sight: int = Field(
        default=2,
        ge=1,
        le=100,
        description="How often a sentence must be spoken before it is stored; 1 stores everything.",
    )
    ttl_s: int = Field(
        default=30 * 24 * 3_600,
        ge=0,
        le=10 * 365 * 24 * 3_600,
        description="How long stored speech is kept at least before clean-up may take it; 0 keeps it for ever.",
    )

    variants: str = Field(
        default="pcm",
        pattern=r"^(pcm|alaw|pcm,alaw|alaw,pcm)$",
        description="What is stored of a sentence: `pcm` (24 kHz), `alaw` (8 kHz, for telephones), or `pcm,alaw`. Dubs are "
        "made of `pcm`.",
    )

    @field_validator("base_url")
    @classmethod
    def _addresses(cls, value: str) -> str:
        return ",".join(cache_addresses(value))

    @classmethod
    def load(cls, given: Mapping[str, Any] = MappingProxyType({})) -> MediaCacheSettings:
        """The settings in the environment; `given`, by field name, wins.

        Raises:
            ConfigurationError: a variable is malformed.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise explain(error, cls) from None

    @property
    def stored_variants(self) -> tuple[Variant, ...]:
        """`variants` as what they are."""
        return tuple(Variant(name) for name in self.variants.split(","))

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The hosts; empty where there is no cache."""
        return cache_addresses(self.base_url)


def cache_addresses(value: str) -> tuple[str, ...]:
    """The hosts of a comma-separated list, spelled one way: keys are shared out by what a host is called.

    Raises:
        ValueError: one is no https://HOST[:PORT], or is named twice. Plain HTTP is for this machine only.
    """
    addresses = tuple(_address(part.strip()) for part in value.split(",") if part.strip())
    if len(set(addresses)) != len(addresses):
        raise ValueError(f"names a host twice: {', '.join(addresses)}")
    return addresses


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{value!r} is no address: {error}") from error
    if parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment or not host:
        raise ValueError(f"{value!r} is no address of a media cache: give https://HOST or https://HOST:PORT")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"{value!r} would send the token in the clear: give https://")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")
