"""Which voices may speak on which stream: the voice registry, and the consent behind every cloned voice.

A voice that imitates a person (one with a `speaker_reference`) speaks only while that person's recorded consent is in
force, and only on the streams it was given for. It is asked at each use, with that moment's date. Voices that a model
ships are licensed with it and need no record. The file is described in docs/voices.md.

The file is looked at again at most once a second and read again when it changed, so a consent that is withdrawn ends
without a restart. A file that cannot be read any more refuses every voice it registered: better no dub than one
without consent.
"""

from __future__ import annotations

import fnmatch
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.sts.contract import LANGUAGE_PATTERN, VOICE_PATTERN

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 4 * 1024 * 1024
_LOOK_EVERY_S = 1.0
_FIELD = "config.targets.voice"
_STREAM_PATTERN = r"^[A-Za-z0-9_*?-]{1,64}$"
_MOST_CHOICES = 12


class VoiceRefusedError(InvalidInputError):
    """A voice that may not be used here and now; an answer's INVALID_INPUT. Never names the person behind it."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that may speak: what its engine needs to know of it.

    `model` is empty where the engine's own is meant; `speaker_reference` is the recording that is imitated.
    """

    id: str
    language: str
    engine: str = ""
    model: str = ""
    speaker_reference: Path | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Consent(_Strict):
    """That a person agreed to have their voice imitated: who, in which document, for what and until when.

    Dates are UTC days; the last day counts.
    """

    person: str = Field(min_length=1, max_length=200, repr=False)
    document: str = Field(min_length=1, max_length=500, repr=False)
    granted_on: date
    expires_on: date
    scope: str = Field(min_length=1, max_length=1_000)

    @model_validator(mode="after")
    def _ordered(self) -> Consent:
        if self.expires_on < self.granted_on:
            raise ValueError(f"expires_on ({self.expires_on}) lies before granted_on ({self.granted_on})")
        return self


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value:
        raise ValueError(f"{value!r} leaves the registry's folder: give a path relative to it")
    return value


class RegisteredVoice(_Strict):
    """One entry of the registry file. No `allowed_streams` means none: streams are named, or `*` for all."""

    id: str = Field(pattern=VOICE_PATTERN)
    language: str = Field(pattern=LANGUAGE_PATTERN)
    engine: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    model: str = Field(default="", max_length=200)
    speaker_reference: Annotated[str, AfterValidator(_inside)] | None = Field(
        default=None, min_length=1, max_length=500
    )
    consent: Consent | None = None
    allowed_streams: tuple[Annotated[str, Field(pattern=_STREAM_PATTERN)], ...] = Field(
        default=(), max_length=1_000
    )

    @model_validator(mode="after")
    def _id_names_its_language(self) -> RegisteredVoice:
        if self.id.split("/", 1)[0] != self.language:
            raise ValueError(f"id {self.id!r} does not start with its language {self.language!r}")
        return self

    def refusal(self, stream_id: str, now: datetime) -> tuple[str, str] | None:
        """Why the voice may not speak on `stream_id` at `now`, and the remedy; None where it may."""
        consent = self.consent
        if self.speaker_reference is not None and consent is None:
            return "has no consent record", "Add the person's consent to the voice registry."
        today = now.astimezone(timezone.utc).date()
        if consent is not None and today < consent.granted_on:
            return f"has consent from {consent.granted_on} on only", "Wait for that day."
        if consent is not None and today > consent.expires_on:
            return f"had consent until {consent.expires_on}", "Have it renewed in the voice registry."
        if not any(fnmatch.fnmatchcase(stream_id, pattern) for pattern in self.allowed_streams):
            return f"is not allowed on stream {stream_id!r}", "Add the stream to its allowed_streams."
        return None


class VoiceFile(_Strict):
    """The registry file as a whole."""

    schema_version: Literal[1] = 1
    voices: tuple[RegisteredVoice, ...] = Field(default=(), max_length=10_000)

    @model_validator(mode="after")
    def _distinct(self) -> VoiceFile:
        ids = [voice.id for voice in self.voices]
        twice = (
            sorted({voice_id for voice_id in ids if ids.count(voice_id) > 1})
            if len(set(ids)) < len(ids)
            else []
        )
        if twice:
            raise ValueError(f"voices are registered twice: {', '.join(twice)}")
        return self


Stamp = tuple[int, int, int]


class VoiceRegistry:
    """The voices of a file, beside those that the engines ship. Safe to use from several threads."""

    def __init__(
        self,
        path: Path | None,
        *,
        built_in: Mapping[str, tuple[str, ...]] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._built_in = dict(built_in or {})
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._looked_s = monotonic_s()
        self._problem = ""
        self._voices: dict[str, RegisteredVoice] = {}
        self._withdrawable: set[str] = set()
        """Engines list cloned voices as theirs: one that was ever registered never counts as built in again."""
        if path is not None:
            self._stamp = _stamp(path)
            self._take(_read(path))

    @classmethod
    def load(
        cls, path: Path | None, *, built_in: Mapping[str, tuple[str, ...]] | None = None
    ) -> VoiceRegistry:
        """The registry of the file at `path`; None is one without registered voices.

        Args:
            path: the registry file; speaker references are relative to its folder.
            built_in: language to the voice ids that the synthesizer ships, the default first. They may speak on
                every stream, unless the file registers them.

        Raises:
            ConfigurationError: the file is missing, too big, or not as docs/voices.md says.
        """
        registry = cls(path, built_in=built_in)
        for problem in registry.problems(datetime.now(timezone.utc)):
            log.warning("voice registry: %s", problem)
        return registry

    def all(self) -> tuple[Voice, ...]:
        """Every registered voice, whatever its consent: for engines that load models by them."""
        return tuple(self._voice(entry) for entry in self._current().values())

    def voices(self, language: str, stream_id: str, now: datetime) -> tuple[str, ...]:
        """Ids of the voices that may speak `language` on a stream, the default first; built-in ones come first."""
        entries = self._current()
        built_in = [voice for voice in self._built_in.get(language, ()) if self._is_built_in(voice, language)]
        registered = [
            entry.id
            for entry in entries.values()
            if entry.language == language
            and entry.refusal(stream_id, now) is None
            and self._reference_problem(entry) is None
        ]
        return (*built_in, *registered)

    def resolve(self, voice_id: str, stream_id: str, now: datetime) -> Voice:
        """The voice, if it may speak on the stream at `now` (an aware datetime).

        Raises:
            VoiceRefusedError: it is unknown, not allowed on the stream, without consent in force, or its recording
                is missing.
        """
        entries = self._current()
        language = voice_id.split("/", 1)[0]
        entry = entries.get(voice_id)
        if entry is None:
            if self._is_built_in(voice_id, language):
                return Voice(voice_id, language)
            raise self._unknown(voice_id, language, stream_id, now)
        refusal = entry.refusal(stream_id, now) or self._reference_problem(entry)
        if refusal is not None:
            problem, remedy = refusal
            log.warning("voice %s refused on stream %s: it %s", voice_id, stream_id, problem)
            raise VoiceRefusedError(f"{_FIELD} {voice_id!r} {problem}.", remedy=remedy)
        return self._voice(entry)

    def problems(self, now: datetime) -> tuple[str, ...]:
        """What keeps registered voices from speaking anywhere: missing or expired consent, missing recordings."""
        found = [self._problem] if self._problem else []
        for entry in self._current().values():
            anywhere = entry.model_copy(update={"allowed_streams": ("*",)})
            refusal = anywhere.refusal("", now) or self._reference_problem(entry)
            if refusal is not None:
                found.append(f"{entry.id} {refusal[0]}. {refusal[1]}")
        return tuple(found)

    def _unknown(self, voice_id: str, language: str, stream_id: str, now: datetime) -> VoiceRefusedError:
        if self._problem:
            return VoiceRefusedError(f"{_FIELD} {voice_id!r} is not available: {self._problem}")
        choices = self.voices(language, stream_id, now)
        known = ", ".join(choices[:_MOST_CHOICES]) or "none for this language"
        return VoiceRefusedError(
            f"{_FIELD} {voice_id!r} is no voice of this service.", remedy=f"Choose one of: {known}."
        )

    def _voice(self, entry: RegisteredVoice) -> Voice:
        return Voice(entry.id, entry.language, entry.engine, entry.model, self._reference(entry))

    def _reference(self, entry: RegisteredVoice) -> Path | None:
        if entry.speaker_reference is None or self._path is None:
            return None
        return self._path.parent / entry.speaker_reference

    def _reference_problem(self, entry: RegisteredVoice) -> tuple[str, str] | None:
        """A recording that is missing, or that a symbolic link leads out of the registry's folder."""
        reference = self._reference(entry)
        if reference is None or self._path is None:
            return None
        if not reference.is_file():
            return f"lacks its speaker_reference {entry.speaker_reference}", "Put the recording in its place."
        if not reference.resolve().is_relative_to(self._path.parent.resolve()):
            return (
                f"has a speaker_reference ({entry.speaker_reference}) outside the registry's folder",
                "Put the recording itself there, not a link.",
            )
        return None

    def _take(self, entries: dict[str, RegisteredVoice]) -> None:
        self._voices = entries
        for voices in self._built_in.values():
            self._withdrawable.update(voice for voice in voices if voice in entries)

    def _is_built_in(self, voice_id: str, language: str) -> bool:
        return voice_id in self._built_in.get(language, ()) and voice_id not in self._withdrawable

    def _current(self) -> dict[str, RegisteredVoice]:
        """The entries as the file has them now; none while the file cannot be read."""
        path = self._path
        if path is None:
            return self._voices
        with self._lock:
            now_s = self._monotonic_s()
            if now_s - self._looked_s < _LOOK_EVERY_S:
                return self._voices
            self._looked_s = now_s
            try:
                stamp = _stamp(path)
                if stamp == self._stamp:
                    return self._voices
                self._stamp = None
                self._take(_read(path))
                self._stamp, self._problem = stamp, ""
                log.info("voice registry %s read again: %d voices", path, len(self._voices))
            except ConfigurationError as error:
                if not self._problem:
                    log.error("every registered voice is refused: %s", error)
                self._voices, self._problem, self._stamp = {}, str(error), None
            return self._voices


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> dict[str, RegisteredVoice]:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(body) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"STS_VOICE_REGISTRY: {path} is larger than {MAX_FILE_BYTES} bytes.",
            remedy="Split it by service.",
        )
    try:
        document = VoiceFile.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigurationError(
            f"STS_VOICE_REGISTRY: {path}: {field}: {first['msg'].removeprefix('Value error, ')}.",
            remedy="Correct the entry as docs/voices.md describes.",
        ) from error
    return {voice.id: voice for voice in document.voices}


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"STS_VOICE_REGISTRY: {path} cannot be read: {error.strerror or error}.",
        remedy="Give the path of a voice registry, or leave the variable out.",
    )
