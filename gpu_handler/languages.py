"""Which languages can be dubbed into which, and by which way a text gets from one to the other."""

from __future__ import annotations

from collections.abc import Iterable

from gpu_handler.engines.registry import Engines
from gpu_handler.stage_errors import StageError
from livedub.sts.contract import ErrorCode, Stage

AUTO = "auto"
UNDETERMINED = "und"
"""ISO 639-2: there was nothing to tell a language by."""

PIVOT = "en"
"""What the recogniser translates into, and where pairs that no translator has directly meet."""

Pairs = dict[str, tuple[str, ...]]


class LanguageRoutes:
    """What the engines can do together, worked out once when they are loaded."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._text_pairs: frozenset[tuple[str, str]] = frozenset()
        self._pairs: Pairs = {}
        self._from_any: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Ask the engines anew: some know their languages only when they are loaded."""
        engines = self._engines
        self._text_pairs = engines.translator.pairs()
        speakable = sorted(engines.synthesizer.voices())
        self._pairs = {
            source: targets
            for source in sorted(engines.transcriber.languages())
            if (targets := tuple(target for target in speakable if self._reaches(source, target)))
        }
        self._from_any = frozenset(target for targets in self._pairs.values() for target in targets)

    @property
    def pairs(self) -> Pairs:
        """Source language to the languages it can be dubbed into."""
        return self._pairs

    def has_text_pair(self, source: str, target: str) -> bool:
        """Whether the translator goes from one to the other by itself."""
        return (source, target) in self._text_pairs

    def speech_targets(self, source: str) -> frozenset[str]:
        """What the recogniser itself translates this language into."""
        if not self._engines.speech_translation:
            return frozenset()
        return self._engines.transcriber.translation_targets() - {source}

    def needed_of_speech(self, source: str, targets: Iterable[str]) -> frozenset[str]:
        """What to ask the recogniser to translate into, so that every target can be reached."""
        if PIVOT not in self.speech_targets(source):
            return frozenset()
        needed = any(target == PIVOT or not self.has_text_pair(source, target) for target in targets)
        return frozenset({PIVOT}) if needed else frozenset()

    def is_pivoted(self, source: str, target: str) -> bool:
        """Whether the translator gets from one to the other through English only."""
        return (
            not self.has_text_pair(source, target)
            and self.has_text_pair(source, PIVOT)
            and self.has_text_pair(PIVOT, target)
        )

    def check(self, source: str, target: str) -> None:
        """Refuse a language that cannot be reached; `source` may be "auto".

        Raises:
            StageError: UNSUPPORTED_LANGUAGE, naming what can.
        """
        known = self._from_any if source == AUTO else self._pairs.get(source, ())
        if target not in known:
            raise self.unsupported(source, target)

    def unsupported(self, source: str, target: str) -> StageError:
        """The error that says so and lists what there is."""
        return StageError(
            Stage.INPUT,
            ErrorCode.UNSUPPORTED_LANGUAGE,
            f"cannot dub {source!r} into {target!r}; available: {_summary(self._pairs)}.",
            retryable=False,
        )

    def _reaches(self, source: str, target: str) -> bool:
        if source == target:
            return False
        spoken = self.speech_targets(source)
        return (
            self.has_text_pair(source, target)
            or self.is_pivoted(source, target)
            or target in spoken
            or (PIVOT in spoken and self.has_text_pair(PIVOT, target))
        )


def _summary(pairs: Pairs) -> str:
    """Pairs grouped by what they can be dubbed into."""
    by_targets: dict[tuple[str, ...], list[str]] = {}
    for source, targets in pairs.items():
        by_targets.setdefault(targets, []).append(source)
    return "; ".join(
        f"{' '.join(sources)} into {' '.join(targets)}" for targets, sources in by_targets.items()
    )
