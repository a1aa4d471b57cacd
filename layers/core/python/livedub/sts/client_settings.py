"""Settings of the STS client, read from `STS_*` variables by an entry point, never at import."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.sts.breaker import BreakerConfig
from livedub.sts.hedge import HedgeConfig
from livedub.sts.runpod_job import DEFAULT_BASE_URL


def sts_address(value: str) -> str:
    """Check that `value` looks like a service address; the client checks the rest.

    Raises:
        ValueError: another scheme, or nothing behind it.
    """
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https", "runpod"} or not parts.netloc:
        raise ValueError(
            f"{value!r} is no service address: give something like http://127.0.0.1:8000 or runpod://ENDPOINT_ID"
        )
    return value


class StsClientSettings(BaseSettings):
    """How a service is called; a base class for settings of programs that call one."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    sts_runpod_base_url: str = Field(
        default=DEFAULT_BASE_URL,
        validation_alias="STS_RUNPOD_BASE_URL",
        description="Address of RunPod's API, for a service address of runpod://ENDPOINT_ID.",
    )
    sts_breaker_failures: int = Field(
        default=5,
        ge=1,
        le=1_000,
        validation_alias="STS_BREAKER_FAILURES",
        description="Failures in a row that open the circuit breaker; fragments then keep their original audio.",
    )
    sts_breaker_cool_down_ms: int = Field(
        default=5_000,
        ge=100,
        le=600_000,
        validation_alias="STS_BREAKER_COOL_DOWN_MS",
        description="How long an open breaker waits before it lets one fragment through as a probe.",
    )
    sts_breaker_max_p95_ms: int = Field(
        default=0,
        ge=0,
        le=120_000,
        validation_alias="STS_BREAKER_MAX_P95_MS",
        description="Slowest 95th percentile of the service's answers that the breaker bears; 0 switches this off.",
    )
    sts_breaker_latency_window: int = Field(
        default=20,
        ge=1,
        le=1_000,
        validation_alias="STS_BREAKER_LATENCY_WINDOW",
        description="How many of the last answers that percentile is taken of; it needs half of them.",
    )
    sts_hedge_url: str = Field(
        default="",
        validation_alias="STS_HEDGE_URL",
        description="A second service, asked when the first is late or failing; empty for none.",
    )
    sts_hedge_api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="STS_HEDGE_API_KEY",
        description="Its bearer token; empty takes the first service's.",
    )
    sts_hedge_after_ms: int = Field(
        default=0,
        ge=0,
        le=120_000,
        validation_alias="STS_HEDGE_AFTER_MS",
        description="After how long the second service is asked too; 0 takes the 95th percentile of the first's last "
        "answers.",
    )
    sts_hedge_max_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        validation_alias="STS_HEDGE_MAX_SHARE",
        description="Largest share of the fragments that may be asked for twice because they are late.",
    )
    sts_warm_up_ms: int = Field(
        default=120_000,
        ge=0,
        le=600_000,
        validation_alias="STS_WARM_UP_MS",
        description="How long a starting stream tries to wake the service up, beside its work; 0 does not.",
    )

    @field_validator("sts_hedge_url")
    @classmethod
    def _hedge_url(cls, value: str) -> str:
        return sts_address(value) if value else value

    @property
    def sts_breaker(self) -> BreakerConfig:
        """The breaker of each service."""
        return BreakerConfig(
            failures_to_open=self.sts_breaker_failures,
            cool_down_ms=self.sts_breaker_cool_down_ms,
            max_p95_ms=self.sts_breaker_max_p95_ms,
            latency_window=self.sts_breaker_latency_window,
            min_latencies=max(1, self.sts_breaker_latency_window // 2),
        )

    @property
    def sts_hedge(self) -> HedgeConfig:
        """When the second service is asked."""
        return HedgeConfig(after_ms=self.sts_hedge_after_ms, max_share=self.sts_hedge_max_share)
