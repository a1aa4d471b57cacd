"""Which voice says a dub: the caller's choice or the first there is, if the registry lets it speak on the stream."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from gpu_handler.engines.base import Synthesizer
from gpu_handler.stage_errors import StageError
from gpu_handler.voices import VoiceRefusedError, VoiceRegistry
from livedub.errors import ConfigurationError
from livedub.sts.contract import ErrorCode, Stage, Target


class Casting:
    """Stands between requests and the synthesizer: no voice speaks that the registry refuses.

    Args:
        synthesizer: who can speak at all.
        registry_path: the voice registry's file; None for the synthesizer's own voices alone.
    """

    def __init__(self, synthesizer: Synthesizer, registry_path: Path | None) -> None:
        self._synthesizer = synthesizer
        self._registry_path = registry_path
        self._voices: dict[str, tuple[str, ...]] = {}
        self._registry = VoiceRegistry(None)

    def load(self) -> None:
        """Ask the loaded synthesizer for its voices and read the registry.

        Raises:
            ConfigurationError: the registry file is missing or wrong.
        """
        self._voices = self._synthesizer.voices()
        self._registry = VoiceRegistry.load(self._registry_path, built_in=self._voices)

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to the voices that the synthesizer has, the default first."""
        return self._voices or self._synthesizer.voices()

    def cast(self, target: Target, stream_id: str) -> str:
        """The voice that says a target's dubs on a stream.

        Raises:
            StageError: INVALID_INPUT where it is unknown, or may not speak here and now.
        """
        now = datetime.now(timezone.utc)
        try:
            wanted = target.voice or self._default(target.language, stream_id, now)
            self._registry.resolve(wanted, stream_id, now)
            return self._known(wanted)
        except (VoiceRefusedError, ConfigurationError) as error:
            raise StageError(Stage.INPUT, ErrorCode.INVALID_INPUT, str(error), retryable=False) from error

    def check(self, voice: str) -> str:
        """A voice for use outside any stream.

        Raises:
            ConfigurationError: there is no such voice.
            VoiceRefusedError: it may speak on some streams only, or lacks consent.
        """
        known = self._known(voice)
        self._registry.resolve(voice, "", datetime.now(timezone.utc))
        return known

    def is_synthetic(self, voice: str, stream_id: str) -> bool:
        """Whether a voice that may speak on a stream imitates nobody."""
        try:
            resolved = self._registry.resolve(voice, stream_id, datetime.now(timezone.utc))
        except VoiceRefusedError:
            return False  # it might, a moment ago
        return resolved.speaker_reference is None

    def _default(self, language: str, stream_id: str, now: datetime) -> str:
        speakable = self._voices.get(language, ())
        for voice in self._registry.voices(language, stream_id, now):
            if voice in speakable:
                return voice
        raise ConfigurationError(
            f"no voice for {language!r} may speak on stream {stream_id!r}.",
            remedy="Allow one in the voice registry, or choose another language.",
        )

    def _known(self, voice: str) -> str:
        known = self.voices().get(voice.split("/", 1)[0], ())
        if voice not in known:
            choices = ", ".join(known) or ", ".join(sorted(self.voices()))
            raise ConfigurationError(f"there is no voice {voice!r}.", remedy=f"Choose one of: {choices}.")
        return voice
