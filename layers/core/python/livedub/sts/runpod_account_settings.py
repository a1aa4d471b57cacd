"""How `livedub runpod` reaches the account, read from its environment."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.sts.runpod_account_client import DEFAULT_ACCOUNT_URL


class RunpodAccountSettings(BaseSettings):
    """Of the command; stream workers use STS_API_KEY, which needs fewer rights."""

    model_config = SettingsConfigDict(
        env_prefix="RUNPOD_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key of the RunPod account that livedub runpod changes endpoints with; empty: with --environment, "
        "STS_API_KEY of its secret.",
    )
    account_url: str = Field(default=DEFAULT_ACCOUNT_URL, description="Address of RunPod's account API, v2.")
