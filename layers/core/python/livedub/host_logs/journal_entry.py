"""Lines of `journalctl --output=json`, and the events they become.

Format: https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from livedub.host_logs.log_event import LogEvent
from livedub.observability import Redactor

FIELDS = ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "UNIT", "_PID", "_SYSTEMD_UNIT")
"""That are asked for; the cursor and the time come with each."""

_LONGEST_MESSAGE = 32_768
"""Characters. However they are escaped, the event stays below what AWS takes."""
_SYSTEMD = "init.scope"
_LEVELS = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
"""Of syslog's priorities, by the words that livedub's own lines have."""
_OF_STREAM = re.compile(r"\blive/([A-Za-z0-9_-]{1,64})/(?:in|out)\b")
_QUERY_OF_PATH = re.compile(r"\b(live/[\w/-]+\?)[^\s\"']+")
_METRICS = "_aws"
"""Makes metrics of an event: of ours alone."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry of the journal.

    Attributes:
        cursor: its place.
        timestamp_ms: when journald took it.
        message: what was written.
        fields: the other ones that are texts.
    """

    cursor: str
    timestamp_ms: int
    message: str
    fields: Mapping[str, str]

    @property
    def unit(self) -> str:
        """The unit it is about: systemd's own lines name the one that they are about."""
        own = self.fields.get("_SYSTEMD_UNIT", "")
        if own in ("", _SYSTEMD):
            own = self.fields.get("UNIT", "") or own
        return own or self.fields.get("SYSLOG_IDENTIFIER", "") or "unknown"

    @property
    def level(self) -> str:
        """In livedub's words."""
        priority = self.fields.get("PRIORITY", "")
        return _LEVELS[int(priority)] if priority in {"0", "1", "2", "3", "4", "5", "6", "7"} else "info"


def parse_entry(line: bytes) -> JournalEntry | None:
    """The entry of one line; None where it has no place or no time, or is no JSON."""
    parsed = _json_object(line)
    if parsed is None:
        return None
    cursor, written_us = parsed.get("__CURSOR"), parsed.get("__REALTIME_TIMESTAMP")
    if not isinstance(cursor, str) or not isinstance(written_us, str) or not cursor:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", written_us):
        return None
    return JournalEntry(
        cursor,
        int(written_us) // 1_000,
        _text(parsed.get("MESSAGE")),
        {name: value for name, value in parsed.items() if isinstance(value, str)},
    )


class EventMaker:
    """Makes events of one host's entries: findable by unit and stream, and without credentials."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._redactor = Redactor()

    def event(self, entry: JournalEntry) -> LogEvent:
        """A JSON object: what a line of JSON said, or `message`; `host`, `unit`, `level`, and `stream_id` where it names one."""
        said = self._said(entry.message)
        found = _OF_STREAM.search(entry.message)
        if found:
            said.setdefault("stream_id", found[1])
        said.setdefault("level", entry.level)
        if pid := entry.fields.get("_PID"):
            said.setdefault("pid", pid)
        said.update(host=self._host, unit=entry.unit)
        return LogEvent.of(entry.timestamp_ms, json.dumps(said, ensure_ascii=False))

    def _said(self, message: str) -> dict[str, object]:
        parsed = (
            _json_object(message.encode("utf-8", "replace")) if len(message) <= _LONGEST_MESSAGE else None
        )
        if parsed is None:
            return {"message": self._text(message)}
        parsed.pop(_METRICS, None)
        try:
            return {name: self._redactor.field(name, value) for name, value in parsed.items()}
        except RecursionError:
            return {"message": self._text(message)}

    def _text(self, message: str) -> str:
        # Cut twice: expressions take their time with what is long, and what they put in may be longer.
        text = self._redactor.text(message[:_LONGEST_MESSAGE])
        text = _QUERY_OF_PATH.sub(r"\1***", text)[:_LONGEST_MESSAGE]
        return text if len(message) <= _LONGEST_MESSAGE else f"{text}... ({len(message)} characters)"


def _json_object(text: bytes) -> dict[str, Any] | None:
    if text.lstrip()[:1] != b"{":
        return None
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def _text(value: object) -> str:
    """A field's value: text, bytes as numbers where it is none, or several of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        values = cast("list[object]", value)
        if values and all(isinstance(each, int) and 0 <= each < 256 for each in values):
            return bytes(cast("list[int]", values)).decode("utf-8", "replace")
        return "\n".join(_text(each) for each in values)
    return ""
