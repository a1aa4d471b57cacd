"""The event log: one JSON line per fragment, for the operator, the verifier and whatever reads it later."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from livedub.audio.pcm import PROGRAMME_RATE_HZ
from livedub.dubbing.config import FIRST_TRACK, DubbingConfig
from livedub.dubbing.fragment import DubbingFragment, LanguageDub
from livedub.timeline.clock import NS_PER_MS, NS_PER_S

logger = logging.getLogger(__name__)


def session_event(config: DubbingConfig) -> dict[str, Any]:
    """The first line of a session: what the fragment lines are relative to."""
    return {
        "event": "session",
        "stream_id": config.stream_id,
        "generation": config.generation,
        "delay_ms": config.delay_ns // NS_PER_MS,
        "source_language": config.source_language,
        "target_language": config.target_language,
        "voice": config.voice,
        "more_targets": [{"language": more.language, "voice": more.voice} for more in config.more_targets],
        "background": "separated" if config.separate else "ducked",
        "background_gain": config.background_gain if config.separate else config.duck_gain,
    }


def fragment_event(fragment: DubbingFragment) -> dict[str, Any]:
    """What became of one fragment; every `_ns` is media time.

    What is the first track's stands in the line itself, what is another's under `languages`, in the same fields.
    """
    return {
        **_shared_event(fragment),
        **_language_event(fragment, fragment.first),
        "languages": {
            track: _language_event(fragment, dub)
            for track, dub in fragment.dubs.items()
            if track != FIRST_TRACK
        },
    }


def language_event(fragment: DubbingFragment, dub: LanguageDub) -> dict[str, Any]:
    """The line of a fragment as it would be if `dub`'s language were the only one."""
    return {**_shared_event(fragment), **_language_event(fragment, dub), "languages": {}}


def event_in_language(event: Mapping[str, Any], language: str) -> dict[str, Any] | None:
    """A line of the log as it would be if `language` were the only one; None where it says nothing about it."""
    if event.get("target_language") == language:
        return dict(event)
    if event.get("event") == "fragment":
        languages: Mapping[str, Mapping[str, Any]] = event.get("languages") or {}
        entry = languages.get(language)
        return None if entry is None else {**event, **entry, "languages": {}}
    more: list[Mapping[str, Any]] = event.get("more_targets") or []
    voice = next((target["voice"] for target in more if target["language"] == language), None)
    if voice is None:
        return dict(event)
    return {**event, "target_language": language, "voice": voice, "more_targets": []}


def _shared_event(fragment: DubbingFragment) -> dict[str, Any]:
    config, timings, transcript = fragment.config, fragment.stage_timings, fragment.transcript
    return {
        "event": "fragment",
        "fragment_id": f"{config.stream_id}/{config.generation}/{fragment.sequence_number}",
        "stream_id": config.stream_id,
        "generation": config.generation,
        "sequence_number": fragment.sequence_number,
        "start_ns": fragment.cut.start_ns,
        "duration_ns": fragment.span.duration_ns,
        "speech": [{"start_ns": span.start_ns, "end_ns": span.end_ns} for span in fragment.cut.speech],
        "cut_reason": fragment.cut.reason.value,
        "source_language": transcript.language if transcript else config.source_language,
        "transcript": transcript.text if transcript else None,
        "sent_ns": fragment.sent_ns,
        "deadline_ns": fragment.deadline_ns,
        "stage_timings": timings.model_dump() if timings else None,
        "models": dict(fragment.models),
    }


def _language_event(fragment: DubbingFragment, dub: LanguageDub) -> dict[str, Any]:
    """What became of a fragment in one language."""
    outcome = dub.outcome
    samples = outcome.dub if outcome else None
    margin_ms = fragment.margin_ms(dub)
    return {
        "target_language": dub.target.language,
        "rung": dub.rung,
        "reason": dub.decision_reason,
        "late": dub.late,
        "speechless": outcome.speechless if outcome else False,
        "translated_text": dub.text,
        "tempo": outcome.tempo if outcome else None,
        "cache_hit": outcome.cache_hit if outcome else False,
        "gain": dub.gain,
        "clip_start_ns": fragment.cut.start_ns if samples is not None and len(samples) else None,
        "dub_start_ns": outcome.dub_start_ns if outcome and samples is not None else None,
        "dub_duration_ns": len(samples) * NS_PER_S // PROGRAMME_RATE_HZ if samples is not None else None,
        "ready_ns": outcome.ready_ns if outcome else None,
        "margin_ms": round(margin_ms, 1) if margin_ms is not None else None,
        "dump": dub.dump,
    }


class EventLogFile:
    """Appends events to a file, a line each, flushed; a full disk costs the log, never the stream."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: IO[str] | None = path.open("a", encoding="utf-8")

    def __enter__(self) -> EventLogFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, event: dict[str, Any]) -> None:
        """Append one event."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            logger.error(
                "event log %s cannot be written (%s): events are lost from here on", self._path, error
            )
            self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                logger.error("event log %s was not closed cleanly: %s", self._path, error)
            self._file = None
