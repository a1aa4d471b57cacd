"""Settings of a stream worker, read from `WORKER_*` variables by the entry point, never at import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from livedub.errors import ConfigurationError
from livedub.settings import explain
from livedub.sts.client_settings import StsClientSettings, sts_address
from livedub.sts.contract import STREAM_ID_PATTERN, VOICE_PATTERN, Target
from livedub.supervision.stream_settings import (
    HOT_FIELDS,
    MAX_MORE_TARGETS,
    languages_named_twice,
    read_more_targets,
)
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.delay import fragment_max_ns
from livedub.timeline.fragmenter import FragmenterConfig
from media_edge.worker.endpoints import Endpoint, parse_endpoint

_LANGUAGE = re.compile(r"[a-z]{2,3}")
_DEFAULT_FRAGMENT_MAX_MS = 6_000
"""What a derived bound never exceeds: longer fragments make a translation wait without making it better."""


class WorkerSettings(StsClientSettings):
    """Everything that can be set from outside for one stream."""

    model_config = SettingsConfigDict(
        env_prefix="WORKER_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    stream_id: str = Field(
        pattern=STREAM_ID_PATTERN,
        description="Name of the stream: 1 to 64 letters, digits, `_` or `-`.",
    )
    generation: int = Field(
        default=0, ge=0, description="Counter of this worker incarnation; goes into fragment ids and logs."
    )
    input_url: str = Field(
        description="Where the publisher's stream is played from: rtmp://, rtmps:// or rtsp:// (over TCP)."
    )
    output_url: str = Field(
        description="Where the dubbed stream is published: rtmp:// or rtmps://; a token goes into its query.",
        repr=False,
    )
    sts_url: str = Field(
        default="http://127.0.0.1:8000",
        validation_alias=AliasChoices("STS_SERVICE_URL", "WORKER_STS_URL"),
        description="Address of the speech-to-speech service: http(s)://HOST, or runpod://ENDPOINT_ID for a RunPod "
        "queue endpoint.",
    )
    sts_api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("WORKER_STS_API_KEY", "STS_API_KEY"),
        description="Bearer token for the speech-to-speech service, or RunPod's API key; empty sends none. STS_API_KEY "
        "does as well.",
    )
    source_language: str = Field(
        default="auto", description="Language spoken on the stream (ISO 639 code), or `auto`."
    )
    target_language: str = Field(default="en", description="Language to dub into (ISO 639 code).")
    voice: str = Field(
        default="",
        pattern=rf"^$|{VOICE_PATTERN}",
        description="Voice of the dub, such as `en/af_heart`; empty takes the service's default.",
    )
    more_targets: Annotated[list[Target], NoDecode] = Field(
        default=[],
        max_length=MAX_MORE_TARGETS,
        description="More languages, each published beside the output as `<output>-<language>`: `fr,de/anna`, or a "
        'JSON list such as `[{"language": "fr", "voice": "", "glossary": {}}]`.',
    )
    glossary: dict[str, str] = Field(
        default_factory=dict[str, str],
        max_length=500,
        description="Words and how they are translated into WORKER_TARGET_LANGUAGE, as a JSON object; empty leaves it "
        "to the service. A word that is its own translation stays as it is in every language.",
    )

    delay_ms: int = Field(
        default=8_000,
        ge=1_000,
        le=60_000,
        description="D: the constant time between a picture's arrival and its departure. A change needs a restart.",
    )
    fragment_min_ms: int = Field(
        default=1_000, ge=200, le=30_000, description="Shortest piece of speech that is dubbed on its own."
    )
    fragment_max_ms: int = Field(
        default=0,
        ge=0,
        le=30_000,
        description="Longest piece of speech dubbed at once; 0 derives it: D minus STS budget minus mixer lead, "
        "at most 6000.",
    )
    sts_budget_ms: int = Field(
        default=3_000,
        ge=100,
        le=60_000,
        description="Time granted to STS for one fragment, transport included.",
    )
    mixer_lead_ms: int = Field(
        default=400,
        ge=300,
        le=5_000,
        description="How long before it is due a block of audio is mixed; covers encoding and a late tick.",
    )
    in_flight_limit: int = Field(
        default=3, ge=1, le=64, description="Fragments that STS may work on at once for this stream."
    )

    separation: Literal["dfn3", "off"] = Field(
        default="dfn3",
        description="What lies under the dub: `dfn3` keeps music and crowd (DeepFilterNet 3 takes the speech out), "
        "`off` the original, ducked.",
    )
    background_gain_db: float = Field(
        default=0.0, ge=-60, le=12, description="Level of the separated background under the dub."
    )
    dub_gain_db: float = Field(default=0.0, ge=-30, le=12, description="Level of the dubbed voice.")
    duck_gain_db: float = Field(
        default=-14.0, ge=-60, le=0, description="Level of the original where it is ducked under the dub."
    )
    aac_bitrate: int = Field(
        default=160_000,
        ge=32_000,
        le=512_000,
        description="Bits per second of the output's AAC. The dub hides coding noise from ears, the music under it does not.",
    )

    state_dir: Path = Field(
        default=Path("~/.local/state/livedub"),
        description="Folder that keeps each stream's timeline across restarts.",
    )
    events_path: Path | None = Field(
        default=None, description="File that gets one JSON line per fragment; empty writes none."
    )
    dump_dir: Path | None = Field(
        default=None,
        description="Folder for each fragment's source and dub as FLAC; empty (default) keeps none.",
    )
    recording_path: Path | None = Field(
        default=None,
        description="FLV file that gets what is sent, tag for tag; another language's is called after it, as in "
        "`out-fr.flv`. Empty (default) records nothing.",
    )
    recording_free_mb: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="MB of that disk that stay free: with less, the recording ends and the stream goes on.",
    )
    subtitles_dir: Path | None = Field(
        default=None,
        description="Folder for live subtitles, STREAM_ID/LANGUAGE.vtt, on the output's clock; empty (default) writes "
        "none.",
    )
    forward_url: str = Field(
        default="",
        description="Third-party RTMP destination that a separate process copies the output to; empty for none.",
        repr=False,
    )

    grace_ms: int = Field(
        default=10_000,
        ge=0,
        le=3_600_000,
        description="How long the output goes on without a publisher before the worker ends.",
    )
    no_input_timeout_ms: int = Field(
        default=120_000, ge=1_000, le=86_400_000, description="How long to wait for the first publisher."
    )
    egress_timeout_ms: int = Field(
        default=120_000,
        ge=1_000,
        le=86_400_000,
        description="How long the output may be refused or broken before the worker ends.",
    )
    watchdog_ms: int = Field(
        default=15_000,
        ge=5_000,
        le=600_000,
        description="How long the worker's own clockwork may stand still before the watchdog ends the process.",
    )
    input_idle_timeout_s: int = Field(
        default=5,
        ge=1,
        le=120,
        description="An input connection that brings nothing for so long is made anew.",
    )
    rtsp_latency_ms: int = Field(
        default=200, ge=0, le=5_000, description="Jitter buffer of an RTSP input; part of the delay D."
    )
    video_buffer_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024 * 1024,
        description="Most memory for pictures that wait out the delay.",
    )
    die_with_parent: bool = Field(
        default=False, description="Whether the kernel ends the worker when the process that started it dies."
    )

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

    @field_validator("more_targets", mode="before")
    @classmethod
    def _named_shortly(cls, value: Any) -> Any:
        return read_more_targets(value)

    @field_validator("source_language", "target_language")
    @classmethod
    def _language(cls, value: str, info: object) -> str:
        may_detect = getattr(info, "field_name", "") == "source_language"
        if not _LANGUAGE.fullmatch(value) and not (may_detect and value == "auto"):
            raise ValueError(
                f"{value!r} is no language: give an ISO 639 code in lower case, such as 'es'"
                + (", or 'auto'" if may_detect else "")
            )
        return value

    @field_validator("sts_url")
    @classmethod
    def _sts_url(cls, value: str) -> str:
        return sts_address(value)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            _ = self.input, self.output, self.forward, self.fragmenter
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        if self.voice and self.voice.split("/", 1)[0] != self.target_language:
            raise ValueError(
                f"WORKER_VOICE {self.voice!r} does not speak WORKER_TARGET_LANGUAGE {self.target_language!r}: "
                "a voice id starts with its language"
            )
        twice = languages_named_twice(self.target_language, self.more_targets)
        if twice:
            raise ValueError(
                f"WORKER_MORE_TARGETS and WORKER_TARGET_LANGUAGE {self.target_language!r} name {twice} more than once"
            )
        return self

    @property
    def input(self) -> Endpoint:
        """Where to play from."""
        return parse_endpoint("WORKER_INPUT_URL", self.input_url, ("rtmp", "rtmps", "rtsp"))

    @property
    def output(self) -> Endpoint:
        """Where to publish."""
        return parse_endpoint("WORKER_OUTPUT_URL", self.output_url, ("rtmp", "rtmps"))

    def output_of(self, track: str) -> Endpoint:
        """Where a track of the dub is published: the output itself for the first, a neighbour for a language."""
        return self.output.beside(f"-{track}") if track else self.output

    @property
    def forward(self) -> Endpoint | None:
        """The third-party destination, if any."""
        if not self.forward_url:
            return None
        return parse_endpoint("WORKER_FORWARD_URL", self.forward_url, ("rtmp", "rtmps"))

    @property
    def delay_ns(self) -> int:
        """D."""
        return self.delay_ms * NS_PER_MS

    @property
    def fragmenter(self) -> FragmenterConfig:
        """Fragment bounds that D has room for.

        Raises:
            ConfigurationError: D leaves no room for a fragment, or less than WORKER_FRAGMENT_MAX_MS asks for.
        """
        min_ns = self.fragment_min_ms * NS_PER_MS
        room_ns = fragment_max_ns(self.delay_ms, self.sts_budget_ms, self.mixer_lead_ms, min_ns=min_ns)
        wanted_ns = self.fragment_max_ms * NS_PER_MS
        if wanted_ns > room_ns:
            raise ConfigurationError(
                f"WORKER_FRAGMENT_MAX_MS is {self.fragment_max_ms}, but WORKER_DELAY_MS {self.delay_ms} leaves "
                f"{room_ns // NS_PER_MS} ms after STS ({self.sts_budget_ms} ms) and mixer ({self.mixer_lead_ms} ms).",
                remedy="Raise WORKER_DELAY_MS, lower WORKER_FRAGMENT_MAX_MS, or set it to 0.",
            )
        max_ns = wanted_ns or min(room_ns, _DEFAULT_FRAGMENT_MAX_MS * NS_PER_MS)
        return FragmenterConfig(min_ns=min_ns, max_ns=max(max_ns, min_ns + 20 * NS_PER_MS))


def read_settings(given: Mapping[str, Any] | None = None) -> WorkerSettings:
    """The settings in the environment; `given`, by field name, wins.

    Raises:
        ConfigurationError: one sentence for everything that is missing, wrong or unknown.
    """
    given = given or {}
    unknown = sorted(set(given) - set(WorkerSettings.model_fields))
    if unknown:
        raise ConfigurationError(
            f"A worker has no settings called {', '.join(unknown)}.",
            remedy="See .env.example for those it has.",
        )
    try:
        return WorkerSettings(**given)
    except ValidationError as error:
        raise explain(error, WorkerSettings) from error


def with_hot_changes(settings: WorkerSettings, changes: Mapping[str, Any]) -> WorkerSettings:
    """`settings` with `changes` for a worker that runs.

    Raises:
        ConfigurationError: a field needs a restart, or a value is wrong.
    """
    cold = sorted(set(changes) - HOT_FIELDS)
    if cold:
        raise ConfigurationError(
            f"{', '.join(cold)} cannot change while the worker runs.", remedy="Restart the stream's worker."
        )
    return read_settings(
        {**{name: getattr(settings, name) for name in type(settings).model_fields}, **changes}
    )
