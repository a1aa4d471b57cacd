"""What the Lambda functions are told by their environment, besides the SupervisionPolicy.

Each part of the wiring builds the class it needs; what one function needs altogether is its class in
`FUNCTION_SETTINGS`, from which the deployment derives the function's environment.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class _FunctionSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="LIVEDUB_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )


class StreamsSettings(_FunctionSettings):
    """Where streams are kept."""

    streams_table: str = Field(description="DynamoDB table of streams, by stream_id.")


class StartSettings(_FunctionSettings):
    """What is started."""

    state_machine_arn: str = Field(description="The state machine stream_supervisor.")


class RelaySettings(_FunctionSettings):
    """How requests of relays are checked."""

    replay_table: str = Field(description="DynamoDB table of used nonces, by nonce; forgets by expires_at.")
    relay_key_secret: str = Field(
        description="Name of the secret with the relays' signing keys, one hex key a line."
    )


class ReportSettings(_FunctionSettings):
    """Where path lists are kept."""

    reports_table: str = Field(
        description="DynamoDB table of path lists, by relay_id; forgets by expires_at."
    )


class ApiSettings(_FunctionSettings):
    """How operators prove themselves."""

    api_token_secret: str = Field(description="Name of the secret with the bearer token of the stream API.")


class SignedFunctionSettings(StreamsSettings, RelaySettings):
    """Of a function that relays call and that starts nothing."""


class StartingFunctionSettings(StreamsSettings, StartSettings):
    """Of a function that may start executions."""


class PublishFunctionSettings(StreamsSettings, StartSettings, RelaySettings):
    """Of a function that relays call and that starts executions."""


class ReconcileFunctionSettings(StreamsSettings, StartSettings, RelaySettings, ReportSettings):
    """Of reconcile."""


class ApiFunctionSettings(StreamsSettings, StartSettings, ApiSettings):
    """Of the stream API."""


class WarmUpFunctionSettings(_FunctionSettings):
    """Of warm_sts."""

    sts_url_parameter: str = Field(description="SSM parameter with the address of speech to speech.")
    sts_secret: str = Field(description="Name of the secret with STS_API_KEY, a JSON object.")
    sts_runpod_base_url: str = Field(
        default="",
        validation_alias="STS_RUNPOD_BASE_URL",
        description="Address of RunPod's API; empty for RunPod's own.",
    )


FUNCTION_SETTINGS: Mapping[str, type[BaseSettings]] = {
    "on_publish": PublishFunctionSettings,
    "on_unpublish": SignedFunctionSettings,
    "authorize_media": SignedFunctionSettings,
    "acquire_lease": StreamsSettings,
    "classify_outcome": StreamsSettings,
    "release_lease": StartingFunctionSettings,
    "reconcile_streams": ReconcileFunctionSettings,
    "stream_api": ApiFunctionSettings,
    "execution_watch": StartingFunctionSettings,
    "warm_sts": WarmUpFunctionSettings,
}
"""By folder of `functions/`."""
