"""What one dubbing session does, fixed for its life."""

from __future__ import annotations

from dataclasses import dataclass, field

from livedub.sts.contract import AudioFormat
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.fragmenter import FragmenterConfig


@dataclass(frozen=True, slots=True)
class DubbingConfig:
    """Identity, languages, delay and gains (linear) of a session.

    `delay_ns` is D; a fragment must be ready `mixer_lead_ns` before its first sample is due. `separate` keeps the
    background under the dub; without it the ducked original (at `duck_gain`) lies under it.
    """

    stream_id: str
    generation: int
    source_language: str
    target_language: str
    voice: str = ""
    delay_ns: int = 8_000 * NS_PER_MS
    mixer_lead_ns: int = 400 * NS_PER_MS
    fragmenter: FragmenterConfig = field(default_factory=FragmenterConfig)
    in_flight_limit: int = 3
    separate: bool = True
    background_gain: float = 1.0
    dub_gain: float = 1.0
    duck_gain: float = 0.2
    crossfade_ns: int = 40 * NS_PER_MS
    max_overflow_ms: int = 600
    sts_audio_format: AudioFormat = AudioFormat.FLAC
