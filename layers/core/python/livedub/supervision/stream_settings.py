"""What a stream's worker is told. Unset fields are the worker host's own default."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from livedub.errors import LivedubError
from livedub.sts.contract import VOICE_PATTERN, Target
from livedub.supervision.journal import noted
from livedub.supervision.paths import output_name
from livedub.supervision.record import Phase, StreamRecord

HOT_FIELDS = frozenset(
    {
        "source_language",
        "target_language",
        "voice",
        "more_targets",
        "background_gain_db",
        "dub_gain_db",
        "duck_gain_db",
        "glossary",
    }
)
"""A running worker takes these over at its next fragment."""

RESTART_FIELDS = frozenset(
    {"delay_ms", "sts_budget_ms", "fragment_max_ms", "separation", "aac_bitrate", "grace_ms", "forward_url"}
)
"""A new worker is needed for these. With another D it steps by the difference, on the same timeline."""

MAX_MORE_TARGETS = 15
"""Languages beside the first: an STS request takes 16."""

_MAX_GLOSSARY = 500
_Term = Annotated[str, Field(min_length=1, max_length=200)]


class SettingsError(LivedubError):
    """The change is refused: `code` is INVALID_SETTINGS or RESTART_REQUIRED, `status` the HTTP status of the answer."""

    def __init__(
        self, code: Literal["INVALID_SETTINGS", "RESTART_REQUIRED"], message: str, *, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.code: Literal["INVALID_SETTINGS", "RESTART_REQUIRED"] = code
        self.status = 409 if code == "RESTART_REQUIRED" else 422


def languages_named_twice(target_language: str | None, more_targets: Sequence[Target]) -> str:
    """The languages that are asked for more than once, in words; empty where there are none."""
    languages = [target_language, *(target.language for target in more_targets)]
    return ", ".join(sorted({it for it in languages if it and languages.count(it) > 1}))


def read_more_targets(value: Any) -> Any:
    """`value`, which may name languages as people type them: `fr,de/anna`, each a language or a voice, which has one.

    What is neither that nor JSON is left to validation.
    """
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list):
        return value
    return [_target(entry) for entry in cast("list[Any]", value)]


def _listed(text: str) -> Any:
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [name.strip() for name in text.split(",") if name.strip()]


def _target(entry: Any) -> Any:
    if not isinstance(entry, str):
        return entry
    language, speaks, _ = entry.partition("/")
    return {"language": language, "voice": entry if speaks else ""}


def output_names(settings: Mapping[str, Any]) -> list[str]:
    """The outputs that a stream with these settings has: `out`, then `out-<language>` for each further language."""
    # A deployment's default settings come as they were written.
    more: Sequence[Mapping[str, Any]] = read_more_targets(settings.get("more_targets") or [])
    return [output_name(), *(output_name(str(target["language"])) for target in more)]


class StreamSettings(BaseModel):
    """Settings of one stream; bounds are the worker's."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source_language: Annotated[str, Field(pattern=r"^(auto|[a-z]{2,3})$")] | None = None
    target_language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    voice: Annotated[str, Field(pattern=rf"^$|{VOICE_PATTERN}")] | None = None
    more_targets: Annotated[list[Target], Field(max_length=MAX_MORE_TARGETS)] | None = None
    background_gain_db: Annotated[float, Field(ge=-60, le=12)] | None = None
    dub_gain_db: Annotated[float, Field(ge=-30, le=12)] | None = None
    duck_gain_db: Annotated[float, Field(ge=-60, le=0)] | None = None
    glossary: Annotated[dict[_Term, _Term], Field(max_length=_MAX_GLOSSARY)] | None = None
    delay_ms: Annotated[int, Field(ge=1_000, le=60_000)] | None = None
    sts_budget_ms: Annotated[int, Field(ge=100, le=60_000)] | None = None
    fragment_max_ms: Annotated[int, Field(ge=0, le=30_000)] | None = None
    separation: Literal["dfn3", "off"] | None = None
    aac_bitrate: Annotated[int, Field(ge=32_000, le=512_000)] | None = None
    grace_ms: Annotated[int, Field(ge=0, le=3_600_000)] | None = None
    forward_url: Annotated[str | None, Field(max_length=512, repr=False)] = None

    @field_validator("more_targets", mode="before")
    @classmethod
    def _named_shortly(cls, value: Any) -> Any:
        """Take the short form, too."""
        return read_more_targets(value)

    @field_validator("forward_url")
    @classmethod
    def _is_rtmp(cls, value: str | None) -> str | None:
        if value and not value.startswith(("rtmp://", "rtmps://")):
            raise ValueError("forward_url must start with rtmp:// or rtmps://")
        return value

    @model_validator(mode="after")
    def _voice_speaks_the_language(self) -> StreamSettings:
        if self.voice and self.target_language and self.voice.split("/", 1)[0] != self.target_language:
            raise ValueError(f"voice {self.voice!r} does not speak target_language {self.target_language!r}")
        return self

    @model_validator(mode="after")
    def _each_language_once(self) -> StreamSettings:
        twice = languages_named_twice(self.target_language, self.more_targets or [])
        if twice:
            raise ValueError(f"more_targets and target_language name {twice} more than once")
        return self

    def chosen(self) -> dict[str, Any]:
        """The fields that are set, as a record keeps them."""
        return self.model_dump(exclude_none=True)


def parse(settings: Mapping[str, Any]) -> StreamSettings:
    """Validate settings.

    Raises:
        SettingsError: INVALID_SETTINGS, with every problem in one sentence.
    """
    try:
        return StreamSettings.model_validate(dict(settings))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise SettingsError(
            "INVALID_SETTINGS", problems, remedy=f"Known settings: {', '.join(StreamSettings.model_fields)}."
        ) from error


def change(record: StreamRecord, patch: Mapping[str, Any], *, restart: bool, now_ms: int) -> StreamRecord:
    """The record with `patch` laid over its settings; a value of None takes a field back to the default.

    A running worker sees the new revision at its next renewal. Where a changed field is among RESTART_FIELDS, its
    agent ends the worker and asks for another one.

    Raises:
        SettingsError: INVALID_SETTINGS; RESTART_REQUIRED when a worker is on and `restart` was not granted.
    """
    merged = {**record.settings, **patch}
    chosen = parse({name: value for name, value in merged.items() if value is not None}).chosen()
    unknown = sorted(set(patch) - set(StreamSettings.model_fields))
    if unknown:
        parse(patch)
    changed = sorted(
        name for name in {*chosen, *record.settings} if chosen.get(name) != record.settings.get(name)
    )
    if not changed:
        return record
    cold = [name for name in changed if name in RESTART_FIELDS]
    if cold and not restart and record.lease.phase is not Phase.FREE:
        raise SettingsError(
            "RESTART_REQUIRED",
            f"{', '.join(cold)} cannot change under a running worker.",
            remedy="Repeat with restart, which interrupts the output for about D.",
        )
    updated = replace(record, settings=chosen, settings_revision=record.settings_revision + 1)
    return noted(updated, now_ms, "settings", ", ".join(changed))
