"""The report's shape. Every figure is measured; one that a clip cannot tell is null, and `reasons` says why."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Figures(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class VideoFigures(_Figures):
    """Frames and NAL units of the input against those of the output, over the frames due."""

    nal_total: int
    nal_identical: int
    identical_share: float
    overlap: float
    frames_due: int
    frames_altered: int
    frames_missing: int
    frames_foreign: int
    offset_ms: float | None
    """Output minus input PTS; milliseconds."""
    offset_max_dev_ms: float | None


class SyncFigures(_Figures):
    """Beep minus flash, output relative to input where the input has the event too; late audio is positive."""

    events: int
    median_ms: float | None
    max_abs_ms: float | None
    input_median_ms: float | None
    relative_to_input: bool


class VideoDelayFigures(_Figures):
    """Wall-clock delay between a listener at `in` and one at `out`, over all video packets."""

    packets: int
    median_ms: float
    median_error_ms: float
    p99_dev_ms: float
    max_dev_ms: float
    by_second_ms: tuple[tuple[int, float], ...]
    """(second since the first packet left, median delay in it)."""


class HoleFigures(_Figures):
    """One hole: where in the output file, how long, and whether by timestamp or by level."""

    start_ms: float
    length_ms: float
    cause: str


class AudioFigures(_Figures):
    """Continuity of the output's audio; `lag_ms` is how far it trails the video, by correlation with the input."""

    holes: int
    max_gap_ms: float
    resets: int
    hole_list: tuple[HoleFigures, ...] = ()
    lag_ms: float | None = None


class FragmentFigures(_Figures):
    """What became of the fragments; `dub_share` leaves out those in which STS heard no speech."""

    total: int
    dub: int
    ducked: int
    original: int
    late: int
    speechless: int
    dub_share: float | None
    dubbed_words: int


class OnsetFigures(_Figures):
    """Distance of dubbed onsets in the output from source onset + D, over `fragments` dubs."""

    fragments: int
    p50_ms: float
    p95_ms: float


class MarginFigures(_Figures):
    """Time left before the mixer's deadline when a fragment was ready."""

    p5_ms: float
    p50_ms: float
    min_ms: float


class StsFigures(_Figures):
    """STS wall time over fragment time, and the mean of each stage over fragments."""

    rtf: float
    asr_ms: float
    translation_ms: float
    tts_ms: float
    fit_ms: float


class WorkerFigures(_Figures):
    """What the worker process used; CPU in percent of one core."""

    cpu_percent: float | None
    rss_bytes: int | None


class CheckFigures(_Figures):
    """A predicate with its figure and bar, for people."""

    name: str
    meaning: str
    field: str
    figure: float | None
    relation: str
    bar: float
    unit: str
    passed: bool | None


class VerifyReport(_Figures):
    """report.json."""

    verified: bool
    predicates: dict[str, bool]
    seconds: float
    delay_ms: float | None
    delay_error_ms: float | None
    output_start_ms: float
    """Earliest presentation timestamp in the output recording: where a player's time 0 lies on the wire."""
    video: VideoFigures | None
    sync: SyncFigures | None
    video_delay: VideoDelayFigures | None
    audio: AudioFigures | None
    fragments: FragmentFigures | None
    onset_error: OnsetFigures | None
    readiness_margin: MarginFigures | None
    sts: StsFigures | None
    translation_recall: float | None
    mixed_wer: float | None
    back_wer: float | None
    background_si_sdr_db: float | None
    worker: WorkerFigures | None
    heard: dict[str, str] = Field(default_factory=dict)
    """What ASR heard, by what it listened to: `output` and `dub`."""
    reasons: dict[str, str] = Field(default_factory=dict)
    checks: tuple[CheckFigures, ...] = ()
