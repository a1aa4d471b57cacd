"""Settings of the speech-to-speech service, read from `STS_*` variables by an entry point, never at import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_GPU_DEFAULTS = {
    "whisper_model": "whisper-large-v3-turbo",
    "whisper_device": "cuda",
    "whisper_compute_type": "int8_float16",
    "mt_device": "cuda",
    "mt_compute_type": "int8_float16",
    "tts_device": "cuda",
    "max_concurrency": 128,
    "queue_size": 128,
}
DEFAULT_MODEL_DIR = Path("~/.cache/livedub/models")


class StsSettings(BaseSettings):
    """Everything that can be set from outside; an engine left empty is the profile's own."""

    model_config = SettingsConfigDict(
        env_prefix="STS_", extra="ignore", frozen=True, protected_namespaces=(), env_ignore_empty=True
    )

    profile: Literal["cpu", "gpu", "mock"] = Field(
        default="cpu",
        description="Engine set: `cpu` speaks for real without a GPU, `gpu` takes large models on CUDA (Whisper "
        "large-v3-turbo, OPUS-MT through CTranslate2, Kokoro), `mock` needs no models and is deterministic.",
    )
    transcriber: str = Field(
        default="", description="Speech recogniser: `whisper` or `mock`; empty takes the profile's."
    )
    translator: str = Field(
        default="",
        description="Translator: `whisper` (English straight from the speech, Apertium for the rest), "
        "`apertium` (text only), `ctranslate2` (OPUS-MT, M2M100 or NLLB, fast), the same by transformers as `marian`, "
        "`m2m100`, `nllb`, or `mock`; empty takes the profile's.",
    )
    synthesizer: str = Field(
        default="",
        description="Voice: `kokoro`, `espeak`, `coqui` (VITS), `xtts` (cloned voices) or `mock`; empty takes the "
        "profile's.",
    )
    model_dir: Path = Field(
        default=DEFAULT_MODEL_DIR,
        description="Folder of the fetched models; safe to delete, `make setup` fills it again.",
    )
    voice_registry: Path | None = Field(
        default=None,
        description="Voice registry file (docs/voices.md): cloned voices, their consent and the streams that may use "
        "them; empty for none.",
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
    whisper_max_batch: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Fragments recognised at once; 0 takes 16 on a GPU and 1 on a CPU, where more gain nothing.",
    )
    whisper_word_times: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Times of every recognised word; `auto` is on with a GPU and off on a CPU, where they cost 20 to "
        "40 ms per fragment.",
    )
    mt_model_dir: Path | None = Field(
        default=None,
        description="Folder of the translation models (`opus-mt-es-en`, `m2m100-418m`, ...); empty takes the folder "
        "of the fetched models.",
    )
    mt_model: str = Field(
        default="",
        description="Multilingual translation model, a folder name in there, for `m2m100`, `nllb` and `ctranslate2`; "
        "empty takes the translator's own (`ctranslate2`: one OPUS-MT model per language pair).",
    )
    mt_pairs: str = Field(
        default="",
        description="Language pairs whose OPUS-MT models are loaded, comma-separated `es-en,en-es`; empty loads all "
        "there are.",
    )
    mt_device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where translation models run.")
    mt_compute_type: str = Field(
        default="int8",
        description="CTranslate2 number format of translation models: `int8` on a CPU, `int8_float16` on a GPU.",
    )
    mt_beam_size: int = Field(
        default=4,
        ge=1,
        le=16,
        description="Hypotheses kept while translating; they are also the shorter candidates to choose from.",
    )
    mt_max_batch: int = Field(
        default=16, ge=1, le=256, description="Sentences that translation models take at once."
    )
    tts_device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="Where Coqui's voices (`coqui`, `xtts`) run."
    )
    tts_max_batch: int = Field(default=8, ge=1, le=64, description="Lines that Coqui's VITS speaks at once.")
    coqui_model_dir: Path | None = Field(
        default=None,
        description="Folder of Coqui's models (`coqui-vits-es-css10`, `xtts-v2`, ...); empty takes the folder of the "
        "fetched models.",
    )
    coqui_tos_agreed: bool = Field(
        default=False,
        validation_alias=AliasChoices("COQUI_TOS_AGREED", "coqui_tos_agreed"),
        description="1 accepts Coqui's terms (CPML) for XTTS, which is refused without.",
    )
    allow_noncommercial: bool = Field(
        default=False,
        description="Take models whose licence forbids commercial use (NLLB, XTTS); without it they are refused.",
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
        default=4,
        ge=1,
        le=256,
        description="Fragments worked on at once: what stages overlap and batches are made of. The profile `gpu` takes "
        "128 of them, and as many in the queue.",
    )
    queue_size: int = Field(
        default=16, ge=0, le=10_000, description="Fragments that may wait; one more is answered QUEUE_FULL."
    )

    runpod_concurrency: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Jobs that a RunPod worker takes at once; 0 takes as many as are worked on at once "
        "(STS_MAX_CONCURRENCY), and leaves the others in RunPod's queue for other workers.",
    )
    min_vram_mb: int = Field(
        default=4_000,
        ge=0,
        description="GPU memory without which a RunPod worker does not start, in MiB; asked only where an engine runs "
        "on CUDA.",
    )
    min_disk_mb: int = Field(
        default=500,
        ge=0,
        description="Free disk (models and temporary files) without which a RunPod worker does not start, in MiB.",
    )

    gather_ms: float = Field(
        default=2.0,
        ge=0,
        le=30,
        description="Time a free engine waits at most for fragments of other streams that are about to come.",
    )
    context_characters: int = Field(
        default=200,
        ge=0,
        le=2_000,
        description="What was said last in a stream, given to recogniser and translator where a request brings no "
        "context of its own; 0 for none.",
    )
    back_check: bool = Field(
        default=False,
        description="Recognise every dub and speak it once more where it is not understood; doubles the "
        "recogniser's work.",
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
        description="Faults by sequence number, comma-separated `FROM[-TO]:ACTION[%PERCENT][:MS]`, `*` for all; actions: "
        "delay, stall, error, garbage, nan, wrong_length, empty; crash, oom and hang strike calls of the mock engines "
        "instead, counted from 1. `%PERCENT` behind an action strikes that share. Example: "
        "`3-5:stall:6000,8:error,*:oom%2`.",
    )
    mock_asr_ms: float = Field(
        default=0, ge=0, le=60_000, description="What the mock recogniser takes for one fragment."
    )
    mock_mt_ms: float = Field(
        default=0, ge=0, le=60_000, description="What the mock translator takes for one sentence."
    )
    mock_tts_ms: float = Field(
        default=0, ge=0, le=60_000, description="What the mock voice takes for one line."
    )
    mock_max_batch: int = Field(
        default=16, ge=1, le=256, description="Items that each mock engine takes in one call."
    )
    mock_batch_cost: float = Field(
        default=1.5,
        ge=0,
        le=256,
        description="What a mock's call with several items takes, in times of one with a single item.",
    )

    @model_validator(mode="before")
    @classmethod
    def _profile_defaults(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("profile") == "gpu":
            return _GPU_DEFAULTS | data
        return data

    @property
    def api_keys(self) -> tuple[str, ...]:
        """Every token that opens the service."""
        return tuple(key for part in self.api_key.split(",") if (key := part.strip()))

    @property
    def threads(self) -> int:
        """Threads per engine, resolved against the cores this process may run on."""
        return self.cpu_threads or len(os.sched_getaffinity(0))
