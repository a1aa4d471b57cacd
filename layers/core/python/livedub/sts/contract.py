"""The STS wire contract: one JSON for HTTP and RunPod alike (schemas are golden files in tests/golden).

Times are integer milliseconds on the wire; audio is mono or stereo, base64 of the declared format.
`POST /api/v1/sts/process` takes an `StsRequest` and answers an `StsResult`; streaming transports send
`StsPartial` objects first: one `text`, then one `audio` per target language.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SCHEMA_VERSION: Literal[1] = 1


def _whole(value: object) -> object:
    """JSON's true and 1.0 equal 1 for Python, but are no version."""
    if type(value) is not int:
        raise ValueError("must be the integer 1")
    return value


SchemaVersion = Annotated[Literal[1], BeforeValidator(_whole)]

STREAM_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
FRAGMENT_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}/[0-9]{1,19}/[0-9]{1,19}$"
LANGUAGE_PATTERN = r"^[a-z]{2,3}$"
VOICE_PATTERN = r"^[a-z]{2,3}/[A-Za-z0-9_.-]{1,64}$"

MAX_FRAGMENT_MS = 30_000
MAX_AUDIO_BASE64_BYTES = 8 * 1024 * 1024
"""The longest fragment as 48 kHz stereo PCM takes 7.7 million; RunPod's `/run` takes 10 MB in all."""

SPEAKING_MODEL = "synthesizer"
"""Where `models` names the one that speaks: a cache knows speech by it, too."""

KEY_START_LENGTH = 16
MAX_WANTED_SPEECH = 256
MAX_GLOSSARY_TERMS = 500
MAX_GLOSSARY_CHARACTERS = 8_000
"""Bound of one glossary, terms and translations together: it travels with every fragment and is searched in each."""

_ISO_639_1 = re.compile(LANGUAGE_PATTERN)


class Wire(BaseModel):
    """Strict base: unknown fields are an error, so a typo never passes silently; nor does NaN, which JSON lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ErrorCode(str, Enum):
    """Stable error codes; clients decide on these, never on messages."""

    TIMEOUT = "TIMEOUT"
    INVALID_INPUT = "INVALID_INPUT"
    UNSUPPORTED_LANGUAGE = "UNSUPPORTED_LANGUAGE"
    MODEL_ERROR = "MODEL_ERROR"
    GPU_OOM = "GPU_OOM"
    QUEUE_FULL = "QUEUE_FULL"
    DURATION_MISMATCH = "DURATION_MISMATCH"
    AUTH_FAILED = "AUTH_FAILED"


class Stage(str, Enum):
    """Where in the service something happened."""

    INPUT = "input"
    QUEUE = "queue"
    ASR = "asr"
    TRANSLATION = "translation"
    TTS = "tts"
    FIT = "fit"


class AudioFormat(str, Enum):
    """Encodings audio travels in: FLAC (RFC 9639) or headerless little-endian 16-bit PCM."""

    FLAC = "flac"
    PCM_S16LE = "pcm_s16le"


class Audio(Wire):
    """Audio as base64, with what is needed to read it.

    Both encodings hold whole numbers, so audio cannot carry NaN or infinity; a voice that makes them is caught before
    its speech is encoded, and JSON's own numbers must be finite (`Wire`).
    """

    format: AudioFormat
    sample_rate_hz: int = Field(ge=8_000, le=48_000)
    channels: int = Field(ge=1, le=2)
    duration_ms: int = Field(ge=1, le=MAX_FRAGMENT_MS)
    data_base64: str = Field(min_length=1, max_length=MAX_AUDIO_BASE64_BYTES)


class SpeechSpan(Wire):
    """A stretch of speech inside the fragment, relative to its start."""

    start_ms: int = Field(ge=0)
    end_ms: int = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> SpeechSpan:
        if self.end_ms <= self.start_ms:
            raise ValueError(f"end_ms ({self.end_ms}) must lie after start_ms ({self.start_ms})")
        return self


def _source_language(value: str) -> str:
    if value != "auto" and not _ISO_639_1.fullmatch(value):
        raise ValueError(
            f"{value!r} is no language: give an ISO 639 code in lower case, such as 'es', or 'auto'"
        )
    return value


def _glossary(value: dict[str, str]) -> dict[str, str]:
    characters = sum(len(term) + len(wanted) for term, wanted in value.items())
    if characters > MAX_GLOSSARY_CHARACTERS:
        raise ValueError(f"holds {characters} characters, at most {MAX_GLOSSARY_CHARACTERS} are taken")
    return value


Glossary = Annotated[dict[str, str], AfterValidator(_glossary)]
"""Terms as they are spoken, and how they are said in the target language; a term mapped to itself stays as it is."""


KeyStart = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{KEY_START_LENGTH}}}$")]
"""The first digits of a cache key: enough to tell one from all others of a stream."""


class Target(Wire):
    """One language to dub into; `voice` names its language (`es/ef_dora`), empty takes the service's default.

    `glossary` is this language's own: its terms win over those of `StsConfig.glossary`.
    """

    language: str = Field(pattern=LANGUAGE_PATTERN)
    voice: str = Field(default="", pattern=rf"^$|{VOICE_PATTERN}")
    glossary: Glossary = Field(default_factory=dict, max_length=MAX_GLOSSARY_TERMS)

    @model_validator(mode="after")
    def _voice_speaks_the_language(self) -> Target:
        if self.voice and self.voice.split("/", 1)[0] != self.language:
            raise ValueError(
                f"voice {self.voice!r} does not speak {self.language!r}: a voice id starts with its language"
            )
        return self


class StsConfig(Wire):
    """What to do with the fragment."""

    source_language: Annotated[str, AfterValidator(_source_language)]
    targets: tuple[Target, ...] = Field(min_length=1, max_length=16)
    glossary: Glossary = Field(default_factory=dict, max_length=MAX_GLOSSARY_TERMS)
    context: str = Field(default="", max_length=2_000)
    max_overflow_ms: int = Field(default=0, ge=0, le=2_000)
    """How far a dub may run past the fragment's end (into the pause that follows it)."""
    wanted_speech: tuple[KeyStart, ...] = Field(default=(), max_length=MAX_WANTED_SPEECH)
    """How the cache keys begin of lines that the caller would keep: should one be said, its dub brings its speech."""

    @model_validator(mode="after")
    def _distinct_targets(self) -> StsConfig:
        languages = [target.language for target in self.targets]
        if len(set(languages)) != len(languages):
            raise ValueError(f"targets name a language twice: {', '.join(languages)}")
        return self


class StsRequest(Wire):
    """One fragment to dub.

    `deadline_ms` is the time left, from receipt, after which nobody needs the answer.
    `speech` optionally tells where speech lies in the fragment, for a caller that knows; the dub starts at the
    first span's start. Without it the service finds speech itself.
    """

    schema_version: SchemaVersion = SCHEMA_VERSION
    fragment_id: str = Field(pattern=FRAGMENT_ID_PATTERN)
    stream_id: str = Field(pattern=STREAM_ID_PATTERN)
    generation: int = Field(ge=0)
    sequence_number: int = Field(ge=0)
    deadline_ms: int = Field(ge=1, le=120_000)
    audio: Audio
    speech: tuple[SpeechSpan, ...] = Field(default=(), max_length=64)
    config: StsConfig

    @model_validator(mode="after")
    def _id_names_its_parts(self) -> StsRequest:
        expected = f"{self.stream_id}/{self.generation}/{self.sequence_number}"
        if self.fragment_id != expected:
            raise ValueError(
                f"fragment_id {self.fragment_id!r} does not match its parts: expected {expected!r}"
            )
        return self

    @model_validator(mode="after")
    def _speech_lies_inside(self) -> StsRequest:
        for index, span in enumerate(self.speech):
            if span.end_ms > self.audio.duration_ms:
                raise ValueError(
                    f"speech[{index}].end_ms ({span.end_ms}) lies after the fragment's end: "
                    f"at most audio.duration_ms ({self.audio.duration_ms})"
                )
        return self


class TextSegment(Wire):
    """A timed span of the transcript, relative to the fragment's start."""

    start_ms: int = Field(ge=0)
    end_ms: int = Field(ge=0)
    text: str


class Transcript(Wire):
    """What was said; empty text means no speech worth dubbing (silence, music, a guarded hallucination)."""

    text: str
    language: str
    segments: tuple[TextSegment, ...] = ()


class Dub(Wire):
    """The fragment in one target language.

    `audio` starts at the fragment's start (leading silence included) and is at least as long as the fragment, at
    most `max_overflow_ms` longer. `tempo` is speaking speed relative to the voice's natural one (> 1 is faster).
    An empty `translated_text` comes with no audio: there is nothing to say.

    What a cache of speech needs: `cache_key` is what the line is known by at natural speed, empty where it is to stay
    out of a cache; `voice` says it; `natural` is where in `audio` the line lies whole and just as the voice spoke it
    at natural speed, None where it was hastened, stretched, cut off or taken from a cache. Where the caller wants the
    line (`StsConfig.wanted_speech`) and `audio` does not hold it so, `natural_audio` does.
    """

    language: str = Field(pattern=LANGUAGE_PATTERN)
    translated_text: str
    audio: Audio | None = None
    tempo: float = Field(default=1.0, gt=0)
    cache_hit: bool = False
    cache_key: str = ""
    voice: str = ""
    natural: SpeechSpan | None = None
    natural_audio: Audio | None = None


class StageTimings(Wire):
    """Where the time went, in milliseconds; targets are summed."""

    queue_ms: float = Field(default=0, ge=0)
    asr_ms: float = Field(default=0, ge=0)
    translation_ms: float = Field(default=0, ge=0)
    tts_ms: float = Field(default=0, ge=0)
    fit_ms: float = Field(default=0, ge=0)


class StsError(Wire):
    """What went wrong, where, and whether the same request may succeed later."""

    stage: Stage
    code: ErrorCode
    message: str
    retryable: bool


class Status(str, Enum):
    """`partial`: some targets are missing; `error` says why."""

    SUCCESS = "success"
    PARTIAL = "partial"
    ERROR = "error"


class StsResult(Wire):
    """The final answer for one fragment."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    fragment_id: str
    status: Status
    transcript: Transcript | None = None
    dubs: tuple[Dub, ...] = ()
    stage_timings: StageTimings = StageTimings()
    models: dict[str, str] = Field(default_factory=dict)
    error: StsError | None = None

    @model_validator(mode="after")
    def _status_and_error_agree(self) -> StsResult:
        if (self.status is Status.SUCCESS) != (self.error is None):
            raise ValueError(
                f"status {self.status.value!r} and error disagree: success carries none, the others one"
            )
        return self


class PartialKind(str, Enum):
    """`text` comes once, as soon as transcript and translations exist; `audio` once per language."""

    TEXT = "text"
    AUDIO = "audio"


class StsPartial(Wire):
    """A part of the answer, sent ahead of it by streaming transports; dubs of a `text` partial carry no audio.

    `models` are those of the result, as far as they are known by then.
    """

    schema_version: SchemaVersion = SCHEMA_VERSION
    kind: PartialKind
    fragment_id: str
    transcript: Transcript | None = None
    dubs: tuple[Dub, ...] = ()
    stage_timings: StageTimings = StageTimings()
    models: dict[str, str] = Field(default_factory=dict)


class Health(Wire):
    """Answer of `GET /health`: 200 with `ready` true only when every model is loaded and warm, else 503."""

    ready: bool
    models: dict[str, str] = Field(default_factory=dict)
    languages: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Source language to the targets it can be dubbed into."""
    detail: str = ""
