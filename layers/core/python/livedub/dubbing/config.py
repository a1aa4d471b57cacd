"""What one dubbing session does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from livedub.errors import ConfigurationError
from livedub.sts.contract import AudioFormat, Target
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.fragmenter import FragmenterConfig

FIRST_TRACK = ""
"""Key of the track that dubs into `target_language`; every other track's key is its language."""


@dataclass(frozen=True, slots=True)
class DubbingConfig:
    """Identity, languages, delay and gains (linear) of a session.

    `target_language` and `voice` are the first track's; each of `more_targets` is a track of its own. `glossary` is
    the first track's too: the others bring theirs, of it they only take the terms that no language translates.
    `delay_ns` is D; a fragment must be ready `mixer_lead_ns` before its first sample is due. `separate` keeps the
    background under the dub; without it the ducked original (at `duck_gain`) lies under it.
    """

    stream_id: str
    generation: int
    source_language: str
    target_language: str
    voice: str = ""
    more_targets: tuple[Target, ...] = ()
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
    glossary: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        languages = [self.target_language, *(target.language for target in self.more_targets)]
        twice = sorted({language for language in languages if languages.count(language) > 1})
        if twice:
            raise ConfigurationError(
                f"more_targets and target_language name {', '.join(twice)} more than once.",
                remedy="Give each language once.",
            )

    @property
    def tracks(self) -> dict[str, Target]:
        """What to dub into, by track; the first track comes first."""
        first = Target(language=self.target_language, voice=self.voice)
        return {FIRST_TRACK: first, **{target.language: target for target in self.more_targets}}

    def check_hot_change(self, changed: DubbingConfig) -> None:
        """Make sure that a running session can go on with `changed`: languages, voices, glossary and gains may differ.

        Raises:
            ConfigurationError: something else differs, which only a new session can take.
        """
        as_now = replace(
            changed,
            source_language=self.source_language,
            target_language=self.target_language,
            voice=self.voice,
            more_targets=self.more_targets,
            glossary=self.glossary,
            background_gain=self.background_gain,
            dub_gain=self.dub_gain,
            duck_gain=self.duck_gain,
        )
        if as_now != self:
            raise ConfigurationError(
                f"{self.stream_id} is being dubbed: delay, fragment bounds and separation stay as they are.",
                remedy="Restart the stream's worker to change them.",
            )
