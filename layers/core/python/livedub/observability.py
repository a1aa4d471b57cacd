"""Logs for operators: one JSON object a line (or plain text), with what it is about and without secrets.

An entry point calls `configure_logging` once. Code marks what it works on with `log_context`; every record below
it, in the same task or a task started there, carries the stream, generation and fragment. Whatever looks like a
credential is replaced by `***` in messages, extra fields and tracebacks: URL queries and user parts, bearer tokens,
values of fields called token, key, password and the like, private keys, and the secrets the entry point names.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, Literal, TextIO, cast

LogStyle = Literal["json", "plain"]
LogFields = Mapping[str, str | int]

_MASK = "***"
_LONGEST_MESSAGE = 8_192
_SHORTEST_SECRET = 4
_NOISY_LOGGERS = ("httpx", "httpcore", "asyncio", "uvicorn.access", "uvicorn.error")

_SENSITIVE_NAME = (
    r"[\w-]*(?:token|secret|passw(?:or)?d|passphrase|credential|signature|authorization"
    r"|(?:api|access|private|stream|priv)[_-]?key)[\w-]*"
)
_SENSITIVE_FIELD = re.compile(_SENSITIVE_NAME, re.IGNORECASE)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        _MASK,
    ),
    # user part and query of a URL (RFC 3986, section 3); quotes end a URL only where they cannot belong to one
    (re.compile(r"\b([a-z][a-z0-9+.-]{1,20}://)[^\s/?#\"<>]*@", re.IGNORECASE), rf"\1{_MASK}@"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{1,20}://[^\s?#\"<>]*)[?#][^\s\"<>]*", re.IGNORECASE), rf"\1?{_MASK}"),
    (re.compile(r"\b(bearer|basic)(\s+)[^\s\"',;]+", re.IGNORECASE), rf"\1\2{_MASK}"),
    (
        re.compile(
            rf"\b({_SENSITIVE_NAME})([\"']?\s*[:=]\s*)(?:(?:bearer|basic)\s+)?"
            r"(?:\"[^\"]*\"?|'[^']*'?|[^\s\"',;&}\])]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{_MASK}",
    ),
)

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_context: ContextVar[LogFields | None] = ContextVar("livedub_log_context", default=None)


@contextmanager
def log_context(
    *, stream_id: str | None = None, generation: int | None = None, fragment_id: str | None = None
) -> Generator[None, None, None]:
    """Mark every record inside with what it is about; nested contexts add to the outer one."""
    given = {"stream_id": stream_id, "generation": generation, "fragment_id": fragment_id}
    fields = {name: value for name, value in given.items() if value is not None}
    token = _context.set({**current_log_context(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def current_log_context() -> LogFields:
    """The fields in force here."""
    return _context.get() or {}


class Redactor:
    """Replaces credentials in text by `***`; `secrets` are values to hide wherever they appear."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        # Longest first: a secret that contains another must not leave its tail behind.
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` without credentials."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def field(self, name: str, value: object) -> object:
        """A log field's value as JSON allows it, hidden whole where `name` says that it is a credential."""
        if value is None or isinstance(value, bool) or value == "":
            return value
        if _SENSITIVE_FIELD.fullmatch(name):
            return _MASK
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            items = cast("Mapping[object, object]", value)
            return {str(key): self.field(str(key), item) for key, item in items.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.field("", item) for item in cast("Iterable[object]", value)]
        return self.text(str(value))[:_LONGEST_MESSAGE]


class _Formatter(logging.Formatter):
    """What both styles share: redacted message, context and exception."""

    def __init__(self, redactor: Redactor, fields: LogFields) -> None:
        super().__init__()
        self._redactor = redactor
        self._fields = fields

    def message(self, record: logging.LogRecord) -> str:
        """The record's message; a bad format string costs its arguments, never the line."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = f"{record.msg} (arguments do not fit)"
        return _cut(self._redactor.text(text))

    def context(self, record: logging.LogRecord) -> dict[str, Any]:
        """Static fields, context and `extra=` fields; the nearer wins."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        merged = {**self._fields, **current_log_context(), **extra}
        return {name: self._redactor.field(name, value) for name, value in merged.items()}

    def exception(self, record: logging.LogRecord) -> str:
        """The redacted traceback, empty without one."""
        text = self.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
        return _cut(self._redactor.text(text))


class JsonFormatter(_Formatter):
    """One JSON object a line: `ts` (UTC, RFC 3339), `level`, `logger`, `message`, fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        line: dict[str, Any] = {
            "ts": _utc(record.created).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
        }
        for name, value in self.context(record).items():
            line.setdefault(name, value)
        if exception := self.exception(record):
            line["exception"] = exception
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainFormatter(_Formatter):
    """For a terminal: `12:03:04.123Z WARNING livedub.sts.client: text [stream_id=stadium fragment_id=...]`."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        at = _utc(record.created).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={value}" for name, value in self.context(record).items())
        line = f"{at}Z {record.levelname:<7} {record.name}: {self.message(record)}"
        line += f" [{fields}]" if fields else ""
        exception = self.exception(record)
        return f"{line}\n{exception}" if exception else line


def configure_logging(
    *,
    style: LogStyle = "json",
    level: str = "INFO",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
    fields: LogFields | None = None,
) -> None:
    """Send every record of this process to `stream` (default: stderr), replacing earlier handlers of the root.

    Args:
        style: `json` for machines, `plain` for a terminal.
        level: lowest level that is written.
        stream: where to.
        secrets: values that must never appear, such as the API key in use.
        fields: on every record, also of threads that no context reaches, such as the worker's `stream_id`.
    """
    formatter = JsonFormatter if style == "json" else PlainFormatter
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(Redactor(secrets), fields or {}))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _cut(text: str) -> str:
    if len(text) <= _LONGEST_MESSAGE:
        return text
    return f"{text[:_LONGEST_MESSAGE]}... ({len(text)} characters)"
