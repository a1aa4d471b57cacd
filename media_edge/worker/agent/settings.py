"""Settings of the agent, read from `AGENT_*` variables by the entry point, never at import."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.settings import explain
from livedub.supervision.shared_settings_store import SharedSources


class AgentSettings(BaseSettings):
    """Everything that can be set from outside for one agent. Its workers inherit its WORKER_* and STS_* variables."""

    model_config = SettingsConfigDict(
        env_prefix="AGENT_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    agent_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.:-]{0,128}$",
        validation_alias=AliasChoices("AGENT_ID"),
        description="Name of this agent, its own in the whole fleet; empty takes host name and process id.",
    )
    work_queue_url: str = Field(description="SQS queue that streams to dub come from.")
    streams_table: str = Field(description="DynamoDB table of the streams.")
    slots: int = Field(default=4, ge=1, le=64, description="Streams that this host dubs at once.")
    warm_spare: bool = Field(
        default=True,
        description="Whether one loaded worker waits for the next stream, so that it starts at once.",
    )
    worker_command: str = Field(
        default="",
        description="Command line that runs a worker, with settings on its stdin; empty runs the one of this package.",
    )
    events_dir: Path | None = Field(
        default=None, description="Folder for each stream's event log, STREAM_ID.jsonl; empty writes none."
    )
    library_spool: Path | None = Field(
        default=None,
        description="Folder in which each generation's subtitles and recordings wait for their upload to the library "
        "(S3_*, LIBRARY_API_URL, LIBRARY_API_TOKEN); on a disk that outlives the host's start. Empty keeps none.",
    )
    library_records: bool = Field(
        default=False, description="Whether workers keep what they send, as FLV files, for the library."
    )
    library_free_mb: int = Field(
        default=1_024,
        ge=0,
        le=10_000_000,
        description="MB of the disk of AGENT_LIBRARY_SPOOL that stay free: with less, a generation begins without keeping "
        "anything, and recordings end. Streams go on.",
    )
    poll_wait_s: int = Field(default=5, ge=0, le=20, description="Longest wait of one look into the queue.")
    call_timeout_s: float = Field(
        default=3.0,
        ge=0.2,
        le=30,
        description="How long one call to AWS or to the media server's relay may take.",
    )
    start_timeout_s: float = Field(
        default=45.0,
        ge=1,
        le=600,
        description="How long a worker may take to load before it counts as wedged.",
    )
    drain_timeout_s: float = Field(
        default=90.0,
        ge=1,
        le=7_200,
        description="How long streams may play out when the host goes away; longer than the longest D.",
    )
    imds_url: str = Field(
        default="",
        pattern=r"^$|^https?://",
        description="Instance metadata service that announces the host's end, on EC2 http://169.254.169.254; "
        "empty asks nothing.",
    )
    imds_poll_s: float = Field(default=5.0, ge=0.1, le=60, description="How often the metadata is looked at.")
    lifecycle_group: str = Field(
        default="",
        description="Auto-scaling group of this host, which then is protected from scale-in while it has streams; needs "
        "AGENT_IMDS_URL.",
    )
    lifecycle_hook: str = Field(
        default="",
        description="Lifecycle hook that waits for this host to be drained; it is sent heartbeats meanwhile.",
    )
    lifecycle_launch_hook: str = Field(
        default="",
        description="Lifecycle hook that waits until this host takes streams; empty where the group counts it at once.",
    )
    lifecycle_beat_s: float = Field(
        default=60.0,
        ge=0.1,
        le=3_600,
        description="How often the hook that waits for the drain is sent a heartbeat; well below its time.",
    )
    load_namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/#:-]{0,255}$",
        description="CloudWatch namespace of SlotsFree, SlotsUsed and HostIdle, which the fleet is scaled by; empty reports "
        "nothing.",
    )
    load_report_s: float = Field(
        default=60.0, ge=0.1, le=3_600, description="How often the load is reported."
    )
    shared_parameters: str = Field(
        default="",
        description="Paths of SSM parameters, separated by commas, whose STS_* and TTS_MEDIA_CACHE_* workers get, also "
        "while they run; they win over the environment.",
    )
    shared_secrets: str = Field(
        default="",
        description="Secrets of Secrets Manager, separated by commas, JSON objects with further ones: STS_API_KEY, "
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN.",
    )
    shared_poll_s: float = Field(default=30.0, ge=0.1, le=3_600, description="How often those are looked at.")
    metrics_host: str = Field(default="127.0.0.1", description="Address of the Prometheus endpoint.")
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="Port of the Prometheus endpoint; 0 switches it off."
    )
    log_format: Literal["json", "plain"] = Field(
        default="json", description="Log lines on stderr: `json` for machines, `plain` for people."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> AgentSettings:
        if (self.lifecycle_hook or self.lifecycle_launch_hook) and not self.lifecycle_group:
            raise ValueError("AGENT_LIFECYCLE_GROUP is empty, but a hook of it is named: name the group")
        if self.lifecycle_group and not self.imds_url:
            raise ValueError(
                "AGENT_IMDS_URL is empty, but AGENT_LIFECYCLE_GROUP is not: set http://169.254.169.254"
            )
        return self

    @property
    def shared_sources(self) -> SharedSources:
        """Where shared settings lie.

        Raises:
            ConfigurationError: an entry is no path, or no name.
        """
        return SharedSources.listed(self.shared_parameters, self.shared_secrets)

    @property
    def name(self) -> str:
        """The agent's name in leases."""
        host = re.sub(r"[^A-Za-z0-9_.:-]", "-", socket.gethostname())[:100]
        return self.agent_id or f"{host}-{os.getpid()}"


def read_settings() -> AgentSettings:
    """The settings in the environment.

    Raises:
        ConfigurationError: one sentence for everything that is missing or wrong.
    """
    try:
        return AgentSettings()  # pyright: ignore[reportCallIssue] - the environment holds what is required
    except ValidationError as error:
        raise explain(error, AgentSettings) from error
