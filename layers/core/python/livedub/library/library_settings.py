"""Settings of everything that touches the media library, built by an entry point, never at import."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.settings import explain
from livedub.sts.runpod_job import DEFAULT_BASE_URL

_MINIO_USER = "minioadmin"
"""What MinIO calls user and password where nobody chose others."""


class Executor(str, Enum):
    """Who runs the library's jobs."""

    CELERY = "celery"
    STEP_FUNCTIONS = "stepfunctions"


class LibrarySettings(BaseSettings):
    """Where files, catalogue and jobs are. S3_ENDPOINT_URL alone tells one machine from AWS."""

    model_config = SettingsConfigDict(
        env_prefix="LIBRARY_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    endpoint_url: str = Field(
        default="",
        validation_alias="S3_ENDPOINT_URL",
        description="Address of the S3-compatible storage, such as http://localhost:9000 (MinIO, livedub up). Empty: AWS.",
    )
    bucket_in: str = Field(
        default="mpr-media-in", validation_alias="S3_BUCKET_IN", description="Bucket of what comes in."
    )
    bucket_out: str = Field(
        default="mpr-media-out", validation_alias="S3_BUCKET_OUT", description="Bucket of what jobs make."
    )
    region: str = Field(
        default="us-east-1", validation_alias="AWS_REGION", description="Region of the storage."
    )
    s3_access_key_id: str = Field(
        default="",
        validation_alias="S3_ACCESS_KEY_ID",
        description="Access key of the storage alone, where it is another one than that of AWS.",
    )
    s3_secret_access_key: SecretStr = Field(
        default=SecretStr(""), validation_alias="S3_SECRET_ACCESS_KEY", description="Its secret."
    )
    access_key_id: str = Field(
        default="",
        validation_alias="AWS_ACCESS_KEY_ID",
        description="Access key; empty takes AWS_PROFILE or the machine's role, at an S3_ENDPOINT_URL minioadmin.",
    )
    secret_access_key: SecretStr = Field(
        default=SecretStr(""), validation_alias="AWS_SECRET_ACCESS_KEY", description="Its secret."
    )
    session_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="AWS_SESSION_TOKEN",
        description="Comes with temporary keys only.",
    )
    profile: str = Field(
        default="", validation_alias="AWS_PROFILE", description="Profile of ~/.aws to take the keys from."
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="DATABASE_URL",
        description="Postgres with the catalogue, postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    )
    executor: Executor = Field(
        default=Executor.CELERY,
        validation_alias="LIVEDUB_EXECUTOR",
        description="Who runs jobs: celery (hosts with Redis) or stepfunctions (AWS).",
    )
    work_dir: Path | None = Field(
        default=None,
        description="Folder for what a job works on; it needs room for the source and what is made of it. Empty: the "
        "system's folder for temporary files.",
    )
    api_url: str = Field(
        default="",
        description="Address of the library's API, such as http://127.0.0.1:8090, for the command line and for hosts that "
        "register what they upload.",
    )
    api_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer token that the library's API asks for; empty lets nobody in.",
    )
    callback_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Key with which whoever ran a job signs its callback (HMAC-SHA256); empty lets none in.",
    )
    api_token_secret: str = Field(
        default="",
        description="Name of the secret in Secrets Manager that holds LIBRARY_API_TOKEN; wins over the variable.",
    )
    callback_secret_name: str = Field(
        default="",
        description="Name of the secret in Secrets Manager that holds LIBRARY_CALLBACK_SECRET; wins over the variable.",
    )
    database_url_secret: str = Field(
        default="",
        description="Name of the secret in Secrets Manager that holds DATABASE_URL, or the JSON object that RDS makes; wins "
        "over the variable.",
    )
    scan_read_s: float = Field(
        default=10.0,
        ge=0,
        le=3_600,
        description="How long the API reads the content of new files after a scan; the next scan goes on. 0 leaves all of "
        "it to livedub library scan.",
    )
    url_expires_s: int = Field(
        default=3_600,
        ge=1,
        le=7 * 86_400,
        description="How long an address to upload or download a file is good.",
    )

    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis that hands jobs to Celery's workers: redis://HOST:PORT/NUMBER or redis+socket:///PATH.",
    )
    state_machine_arn: str = Field(
        default="", description="State machine media_job, which LIVEDUB_EXECUTOR=stepfunctions starts."
    )
    work_queue_url: str = Field(
        default="", description="SQS queue from which hosts take what the state machine gives them."
    )
    callback_url: str = Field(
        default="", description="Address of the library's API, where the state machine reports a job's end."
    )
    job_slots: int = Field(default=2, ge=1, le=64, description="Jobs that one host works on at once.")
    job_timeout_s: int = Field(
        default=6 * 3_600,
        ge=10,
        le=7 * 86_400,
        description="Longest time that one attempt at a job may take.",
    )
    job_lease_s: float = Field(
        default=20.0,
        ge=3,
        le=600,
        description="A worker that says nothing of its job for so long has lost it to the next one.",
    )
    job_beat_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="How often a worker stores a job's progress and asks whether to go on; below a third of the lease.",
    )
    pending_patience_s: float = Field(
        default=30.0, ge=1, le=3_600, description="A job that waits longer is put into the queue again."
    )
    function_max_bytes: int = Field(
        default=256 * 1_024 * 1_024,
        ge=0,
        description="Files up to this size are trimmed and transcoded in a Lambda function, larger ones on a host. 0: none.",
    )
    function_has_ffmpeg: bool = Field(
        default=False,
        description="Whether the Lambda function finds the program LIBRARY_FFMPEG, to transcode.",
    )
    fan_out_min_s: int = Field(
        default=600,
        ge=0,
        le=7 * 86_400,
        description="Media from this length on is dubbed by many hosts at once. 0: never.",
    )
    fan_out_hosts: int = Field(
        default=40, ge=1, le=1_000, description="Ranges of one file that are dubbed at once."
    )

    ffmpeg: str = Field(
        default="ffmpeg",
        description="The program that transcodes, 5.1 or later with libx264: a name or a path.",
    )
    ffmpeg_threads: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Threads of one encoder. The bytes that come out depend on it, so it is the same on every host.",
    )
    sts_service_url: str = Field(
        default="",
        validation_alias="STS_SERVICE_URL",
        description="The STS service that dub jobs ask: http(s)://HOST or runpod://ENDPOINT_ID.",
    )
    sts_api_key: SecretStr = Field(
        default=SecretStr(""), validation_alias="STS_API_KEY", description="Its bearer token."
    )
    sts_runpod_base_url: str = Field(
        default=DEFAULT_BASE_URL,
        validation_alias="STS_RUNPOD_BASE_URL",
        description="Address of RunPod's API, for a service address of runpod://ENDPOINT_ID.",
    )
    dub_range_s: int = Field(
        default=60,
        ge=10,
        le=3_600,
        description="About how long the ranges are that a file is dubbed in; each ends in a pause of the speech.",
    )
    dub_separates: bool = Field(
        default=True, description="Keep music and noise under a dub; otherwise the ducked original."
    )
    dub_failed_percent: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Share of the fragments that may stay undubbed before a dub job has failed.",
    )

    @field_validator("endpoint_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"{value!r} is no address: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError(
                f"{value!r} is no address of a storage: give http(s)://HOST or http(s)://HOST:PORT"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _beats_keep_the_lease(self) -> LibrarySettings:
        if self.job_beat_s * 3 > self.job_lease_s:
            raise ValueError(
                f"LIBRARY_JOB_BEAT_S ({self.job_beat_s:g}) must be at most a third of LIBRARY_JOB_LEASE_S "
                f"({self.job_lease_s:g})"
            )
        return self

    @property
    def static_keys(self) -> tuple[str, str, str] | None:
        """Access key, secret and session token (or ""); None lets boto3 find them.

        At an endpoint of one's own that nobody gave keys for, MinIO's: what ~/.aws holds is not for strangers.
        """
        if self.s3_access_key_id:
            return self.s3_access_key_id, self.s3_secret_access_key.get_secret_value(), ""
        if self.access_key_id:
            return (
                self.access_key_id,
                self.secret_access_key.get_secret_value(),
                self.session_token.get_secret_value(),
            )
        if self.endpoint_url and not self.profile:
            return _MINIO_USER, _MINIO_USER, ""
        return None

    @classmethod
    def load(cls) -> LibrarySettings:
        """Read the environment.

        Raises:
            ConfigurationError: something is malformed.
        """
        try:
            return cls()
        except ValidationError as error:
            raise explain(error, cls) from None
