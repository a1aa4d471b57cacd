"""The words of the media library as data: the one schema behind REST, GraphQL, job messages and the catalogue.

Times of media are integer milliseconds, points in time are UTC. Everything is frozen; a change is a new object.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.sts.contract import LANGUAGE_PATTERN, VOICE_PATTERN

MAX_KEY_BYTES = 1_024
"""S3's bound of a key, as UTF-8; `object_keys` holds the other rules."""
MAX_MEDIA_MS = 7 * 24 * 3_600_000
MAX_TARGETS = 16
MAX_PAGE_ITEMS = 200
DEFAULT_PAGE_ITEMS = 50
MAX_LISTED_FILES = 1_000
"""Of a scan: what it counts has no bound, what it lists by name does."""

Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_BYTES)]
PresetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
LanguageCode = Annotated[str, Field(pattern=LANGUAGE_PATTERN)]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A point in time; whatever zone it comes in, it is kept as UTC."""


class Wire(BaseModel):
    """Strict base: unknown fields are an error, so a typo never passes silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BucketRole(str, Enum):
    """Which of the two buckets; their names differ from place to place, their roles do not."""

    IN = "in"
    OUT = "out"


class AssetStatus(str, Enum):
    """What is known of an asset's content."""

    REGISTERED = "REGISTERED"
    """Seen in the bucket, not read yet."""
    READY = "READY"
    """Read: container, duration and streams are known."""
    UNREADABLE = "UNREADABLE"
    """Read, and it is no media, or broken; `error` says what."""
    GONE = "GONE"
    """No longer in the bucket. The row stays, because jobs speak of it."""


class StreamKind(str, Enum):
    """What a stream inside a container carries."""

    VIDEO = "video"
    AUDIO = "audio"
    SUBTITLE = "subtitle"
    DATA = "data"


class MediaStream(Wire):
    """One stream of a container. What the container does not say is None, or empty."""

    index: int = Field(ge=0)
    kind: StreamKind
    codec: str = ""
    language: str = ""
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    frame_rate: str = Field(default="", description="Frames a second as a fraction, such as 30000/1001.")
    sample_rate_hz: int | None = Field(default=None, ge=1)
    channels: int | None = Field(default=None, ge=1)


class MediaError(Wire):
    """What went wrong, for programs (`code`, stable) and for people."""

    code: LibraryErrorCode
    message: str
    remedy: str = ""

    @classmethod
    def of(cls, error: LibraryError) -> MediaError:
        """The same, as data."""
        return cls(code=error.code, message=error.message, remedy=error.remedy)


class MediaInfo(Wire):
    """What reading a file's content told; the name of the file plays no part in it."""

    container: str
    duration_ms: int | None = Field(default=None, ge=0)
    streams: tuple[MediaStream, ...] = ()


class Asset(Wire):
    """A media file in a bucket, as the catalogue knows it. `etag` tells one content of a key from the next."""

    id: UUID
    bucket: BucketRole
    key: Key
    size_bytes: int = Field(ge=0)
    etag: str
    modified_at: Moment
    status: AssetStatus
    container: str = ""
    duration_ms: int | None = None
    streams: tuple[MediaStream, ...] = ()
    error: MediaError | None = None
    created_at: Moment
    updated_at: Moment


class VideoEncoding(Wire):
    """How a preset encodes video. The picture is never made larger than it is."""

    codec: Literal["h264"] = "h264"
    max_height: int = Field(ge=144, le=4_320)
    quality: int = Field(default=23, ge=0, le=51, description="Constant rate factor of x264; less is better.")
    speed: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = "veryfast"
    max_bitrate_kbps: int = Field(ge=100, le=100_000)


class AudioEncoding(Wire):
    """How a preset encodes audio."""

    codec: Literal["aac"] = "aac"
    bitrate_kbps: int = Field(default=128, ge=32, le=512)
    sample_rate_hz: Literal[44_100, 48_000] = 48_000
    channels: Literal[1, 2] = 2


class Container(str, Enum):
    """What a preset writes."""

    MP4 = "mp4"
    M4A = "m4a"
    HLS = "hls"


class Preset(Wire):
    """A named way to transcode. A job keeps the preset as it was when the job was made."""

    name: PresetName
    description: str = Field(default="", max_length=500)
    container: Container
    video: VideoEncoding | None = None
    audio: AudioEncoding | None = None
    hls_part_s: int = Field(default=6, ge=1, le=30, description="Length of a part of an HLS rendition.")

    @model_validator(mode="after")
    def _has_content(self) -> Preset:
        if self.video is None and self.audio is None:
            raise ValueError("a preset needs video, audio or both")
        if self.container is Container.M4A and self.video is not None:
            raise ValueError("an m4a holds no video: choose mp4, or leave video out")
        return self


class JobKind(str, Enum):
    """What a job does."""

    TRANSCODE = "transcode"
    TRIM = "trim"
    DUB = "dub"


class JobState(str, Enum):
    """Where a job stands; `jobs.py` says which may follow which."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TranscodeParameters(Wire):
    """By which preset."""

    preset: PresetName


class TrimParameters(Wire):
    """From `start_ms` (included) to `end_ms` (excluded), counted from the start of the file.

    Without `exact` the cut lies at the key frames around, and nothing is encoded anew.
    """

    start_ms: int = Field(ge=0, le=MAX_MEDIA_MS)
    end_ms: int = Field(gt=0, le=MAX_MEDIA_MS)
    exact: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> TrimParameters:
        if self.end_ms <= self.start_ms:
            raise ValueError(f"end_ms ({self.end_ms}) must lie after start_ms ({self.start_ms})")
        return self


class DubTarget(Wire):
    """One language to dub into; `voice` names its language (`es/ef_dora`), empty takes the service's default."""

    language: LanguageCode
    voice: str = Field(default="", pattern=rf"^$|{VOICE_PATTERN}")

    @model_validator(mode="after")
    def _voice_speaks_the_language(self) -> DubTarget:
        if self.voice and self.voice.split("/", 1)[0] != self.language:
            raise ValueError(f"voice {self.voice!r} does not speak {self.language!r}")
        return self


class DubParameters(Wire):
    """Into which languages, each once; `subtitles` writes WebVTT beside the file as well."""

    source_language: str = Field(default="auto", pattern=rf"^auto$|{LANGUAGE_PATTERN}")
    targets: tuple[DubTarget, ...] = Field(min_length=1, max_length=MAX_TARGETS)
    subtitles: bool = True

    @model_validator(mode="after")
    def _each_language_once(self) -> DubParameters:
        languages = [target.language for target in self.targets]
        if len(set(languages)) != len(languages):
            raise ValueError(f"targets name a language twice: {', '.join(languages)}")
        return self


JobParameters = TranscodeParameters | TrimParameters | DubParameters


class _Request(Wire):
    source_key: Key = Field(description="A key in the bucket `in`.")
    output_key: Key | None = Field(
        default=None, description="A key in the bucket `out`; without one, it is made from the source's."
    )


class TranscodeRequest(_Request):
    """Encode a file by a preset."""

    kind: Literal[JobKind.TRANSCODE]
    parameters: TranscodeParameters


class TrimRequest(_Request):
    """Cut a piece out of a file."""

    kind: Literal[JobKind.TRIM]
    parameters: TrimParameters


class DubRequest(_Request):
    """Dub a file into other languages."""

    kind: Literal[JobKind.DUB]
    parameters: DubParameters


JobRequest = Annotated[TranscodeRequest | TrimRequest | DubRequest, Field(discriminator="kind")]
"""What is asked for; `kind` tells which parameters belong to it."""
JOB_REQUEST: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)


class JobOutput(Wire):
    """An object that a job wrote into the bucket `out`."""

    key: Key
    size_bytes: int = Field(ge=0)
    content_type: str
    sha256: str = Field(default="", pattern=r"^$|^[0-9a-f]{64}$")
    language: str = Field(default="", description="Of subtitles.")


class Job(Wire):
    """A piece of work and how far it is.

    Attributes:
        preset: the whole preset as it was when a transcoding job was made; None for other kinds.
        progress: 0 to 1 within the running attempt; 1 only once completed.
        attempt: how often work on it was begun, over all submissions; the fencing token of whoever works on it.
        submission: how often it was put into the queue, 1 for the first time, one more for each `retry`. Together
            with the id it names what an executor submits, so that submitting twice does no harm.
        outputs: what it wrote, once completed.
    """

    id: UUID
    kind: JobKind
    state: JobState
    source_key: Key
    output_key: Key
    preset: Preset | None = None
    parameters: JobParameters
    progress: float = Field(default=0.0, ge=0, le=1)
    error: MediaError | None = None
    attempt: int = Field(default=0, ge=0)
    submission: int = Field(default=1, ge=1)
    outputs: tuple[JobOutput, ...] = ()
    created_at: Moment
    updated_at: Moment
    started_at: Moment | None = None
    finished_at: Moment | None = None


class JobEvent(Wire):
    """One change of a job's state, or a new attempt; numbered from 1 within the job, written by the database."""

    job_id: UUID
    number: int = Field(ge=1)
    at: Moment
    state: JobState
    attempt: int = Field(ge=0)
    submission: int = Field(ge=1)
    error_code: LibraryErrorCode | None = None


class ScanRequest(Wire):
    """Look into the bucket `in`, at keys that begin with `prefix`."""

    prefix: str = Field(default="", max_length=MAX_KEY_BYTES)


class ScanResult(Wire):
    """What a scan found. `found` = `registered` + `changed` + `skipped`, unless another scan worked beside it.

    Attributes:
        found: media files in the bucket, by their names.
        registered: new ones, and those that were gone and are back.
        skipped: known already, unchanged.
        changed: known already, with another content now.
        gone: known, but no longer in the bucket.
        files: keys of the registered and changed ones, in order; the first 1,000.
    """

    found: int = Field(default=0, ge=0)
    registered: int = Field(default=0, ge=0)
    skipped: int = Field(default=0, ge=0)
    changed: int = Field(default=0, ge=0)
    gone: int = Field(default=0, ge=0)
    files: tuple[str, ...] = ()


class PageRequest(Wire):
    """Which part of a list: at most `limit` items from behind `cursor` (`next_cursor` of the page before)."""

    limit: int = Field(default=DEFAULT_PAGE_ITEMS, ge=1, le=MAX_PAGE_ITEMS)
    cursor: str | None = Field(default=None, max_length=4_096)


class AssetPage(Wire):
    """Assets in order of bucket and key; `next_cursor` is None on the last page."""

    items: tuple[Asset, ...]
    next_cursor: str | None = None


class JobPage(Wire):
    """Jobs, the newest first; `next_cursor` is None on the last page."""

    items: tuple[Job, ...]
    next_cursor: str | None = None
