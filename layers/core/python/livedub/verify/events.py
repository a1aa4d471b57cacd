"""The event log as the verifier reads it: only the fields that figures are made of; anything else is let through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from livedub.dubbing.event_log import event_in_language
from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_MS, Span
from livedub.verify.json_lines import read_json_lines

_DUMP_FOLDERS = ("", "dumps", "fragments")


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SpeechEvent(_Event):
    """A stretch of source speech, media time."""

    start_ns: int
    end_ns: int


class StageTimingsEvent(_Event):
    """Milliseconds each STS stage took."""

    queue_ms: float = 0.0
    asr_ms: float = 0.0
    translation_ms: float = 0.0
    tts_ms: float = 0.0
    fit_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """Time worked; waiting in the queue is not work."""
        return self.asr_ms + self.translation_ms + self.tts_ms + self.fit_ms


class SessionEvent(_Event):
    """The first line of a session; `media_offset_ns` is media time minus input PTS."""

    stream_id: str = ""
    generation: int = 0
    delay_ms: int
    media_offset_ns: int = 0
    source_language: str = ""
    target_language: str = ""
    background: str = ""


class FragmentEvent(_Event):
    """What became of one fragment; every `_ns` is media time.

    `dump` names the dry dub (48 kHz mono from `clip_start_ns` on), relative to the log or to its dump folder.
    """

    fragment_id: str = ""
    sequence_number: int = 0
    start_ns: int
    duration_ns: int
    speech: tuple[SpeechEvent, ...] = ()
    cut_reason: str = ""
    rung: str
    reason: str = ""
    late: bool = False
    speechless: bool = False
    source_language: str | None = None
    target_language: str | None = None
    transcript: str | None = None
    translated_text: str | None = None
    tempo: float | None = None
    gain: float = 1.0
    clip_start_ns: int | None = None
    dub_start_ns: int | None = None
    dub_duration_ns: int | None = None
    sent_ns: int | None = None
    ready_ns: int | None = None
    deadline_ns: int | None = None
    margin_ms: float | None = None
    stage_timings: StageTimingsEvent | None = None
    dump: str | None = None

    @property
    def span(self) -> Span:
        """The source's stretch of media time."""
        return Span(self.start_ns, self.start_ns + self.duration_ns)

    @property
    def aired_dub(self) -> bool:
        """Whether its dub went to air."""
        return self.rung == "dub"


class WorkerEvent(_Event):
    """What the worker process used; CPU in percent of one core."""

    cpu_percent: float | None = None
    rss_bytes: int | None = None


_MODELS: dict[str, type[_Event]] = {
    "session": SessionEvent,
    "fragment": FragmentEvent,
    "worker": WorkerEvent,
}


@dataclass(frozen=True, slots=True)
class EventLog:
    """Everything read from a log, in its order; `folder` is where relative dump names start."""

    sessions: tuple[SessionEvent, ...] = ()
    fragments: tuple[FragmentEvent, ...] = ()
    worker: WorkerEvent | None = None
    folder: Path | None = None

    @property
    def delay_ns(self) -> int | None:
        """D as the session states it."""
        return self.sessions[0].delay_ms * NS_PER_MS if self.sessions else None

    def dump_path(self, fragment: FragmentEvent) -> Path | None:
        """The file of a fragment's dry dub, None where none was kept."""
        if fragment.dump is None or self.folder is None:
            return None
        candidates = (self.folder / name / fragment.dump for name in _DUMP_FOLDERS)
        return next((path for path in candidates if path.is_file()), None)


def read_events(path: Path, *, language: str = "") -> EventLog:
    """Read an events.jsonl; with `language`, as it concerns the output in that language.

    Raises:
        InvalidInputError: the file cannot be read, or a line is no event; the message names the line.
    """
    events: Iterable[Mapping[str, Any]] = (event for _, event in read_json_lines(path))
    if language:
        seen = (event_in_language(event, language) for event in events)
        events = (event for event in seen if event is not None)
    return parse_events(events, folder=path.parent)


def parse_events(events: Iterable[Mapping[str, Any]], *, folder: Path | None = None) -> EventLog:
    """Build a log from decoded events; kinds of events that no figure is made of are skipped.

    Raises:
        InvalidInputError: an event lacks a field that figures need.
    """
    read = [_event(number, event) for number, event in enumerate(events, start=1)]
    workers = [event for event in read if isinstance(event, WorkerEvent)]
    return EventLog(
        sessions=tuple(event for event in read if isinstance(event, SessionEvent)),
        fragments=tuple(event for event in read if isinstance(event, FragmentEvent)),
        worker=workers[-1] if workers else None,
        folder=folder,
    )


def _event(number: int, event: Mapping[str, Any]) -> _Event | None:
    model = _MODELS.get(str(event.get("event")))
    if model is None:
        return None
    try:
        return model.model_validate(event)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(
            f"event {number} of the log: field {field}: {first['msg']}.",
            remedy="Give the events.jsonl that this version of livedub wrote.",
        ) from error
