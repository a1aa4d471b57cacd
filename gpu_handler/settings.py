"""Settings of the speech-to-speech service, read from `STS_*` variables by an entry point, never at import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_MODEL_DIR = Path("~/.cache/livedub/models")


class StsSettings(BaseSettings):
    """Everything that can be set from outside; an engine left empty is the profile's own."""

    model_config = SettingsConfigDict(
        env_prefix="STS_", extra="ignore", frozen=True, protected_namespaces=(), env_ignore_empty=True
    )

    profile: Literal["cpu", "mock"] = Field(
        default="cpu",
        description="Engine set: `cpu` speaks for real without a GPU, `mock` needs no models and is deterministic.",
    )
    transcriber: str = Field(
        default="", description="Speech recogniser: `whisper` or `mock`; empty takes the profile's."
    )
    translator: str = Field(
        default="",
        description="Translator: `whisper` (English straight from the speech, Apertium for the rest), "
        "`apertium` (text only) or `mock`; empty takes the profile's.",
    )
    synthesizer: str = Field(
        default="", description="Voice: `kokoro`, `espeak` or `mock`; empty takes the profile's."
    )
    model_dir: Path = Field(
        default=DEFAULT_MODEL_DIR,
        description="Folder of the fetched models; safe to delete, `make setup` fills it again.",
    )
    whisper_model: str = Field(
        default="whisper-base",
        description="Name of a recogniser in the model registry, or the path of a CTranslate2 Whisper folder.",
    )
    whisper_beam_size: int = Field(
        default=5, ge=1, le=10, description="Hypotheses kept while decoding; 1 saves a fifth of the time."
    )
    whisper_context_ms: int = Field(
        default=10_000,
        ge=6_000,
        le=30_000,
        description="Shortest clip that Whisper's encoder sees, padded with silence; 30000 is what it was trained "
        "on, less is faster.",
    )
    whisper_device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where Whisper runs.")
    whisper_compute_type: str = Field(
        default="int8", description="CTranslate2 number format: `int8` on a CPU, `int8_float16` on a GPU."
    )
    cpu_threads: int = Field(
        default=0, ge=0, le=256, description="Threads per engine; 0 takes every core this process may use."
    )

    api_host: str = Field(default="127.0.0.1", description="Address the HTTP service listens on.")
    api_port: int = Field(default=8000, ge=0, le=65535, description="Its port; 0 takes a free one.")
    api_key: str = Field(
        default="",
        description="Bearer token that callers must present; several, separated by commas, while callers change from "
        "one to the next; empty asks for none.",
        repr=False,
    )
    max_concurrency: int = Field(
        default=4, ge=1, le=256, description="Fragments worked on at once; stages overlap between them."
    )
    queue_size: int = Field(
        default=16, ge=0, le=10_000, description="Fragments that may wait; one more is answered QUEUE_FULL."
    )

    mock_voice: Literal["passthrough", "tone"] = Field(
        default="passthrough",
        description="What the mock synthesizer says: the fragment's own audio, or a tone.",
    )
    mock_delay_ms: int = Field(
        default=0, ge=0, le=60_000, description="Time the mock takes for every fragment."
    )
    mock_script: str = Field(
        default="",
        description="Faults by sequence number, comma-separated `FROM[-TO]:ACTION[:MS]`, `*` for all; actions: "
        "delay, stall, error, garbage, nan, wrong_length, empty. Example: `3-5:stall:6000,8:error`.",
    )

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every token that opens the service."""
        return tuple(key for part in self.api_key.split(",") if (key := part.strip()))

    @property
    def threads(self) -> int:
        """Threads per engine, resolved against the cores this process may run on."""
        return self.cpu_threads or len(os.sched_getaffinity(0))
