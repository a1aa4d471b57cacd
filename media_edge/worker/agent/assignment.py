"""What a worker is told: the row's settings over the host's, and where its media lies."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from livedub.errors import InvalidInputError
from livedub.supervision.record import StreamRecord
from livedub.supervision.stream_settings import HOT_FIELDS
from media_edge.worker.settings import WorkerSettings, read_settings

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class PublishToken:
    """The right to publish `out` and every `out-<language>` in one generation. Made here, so that it never travels through queue or execution."""

    value: str = field(repr=False)

    @classmethod
    def make(cls) -> PublishToken:
        """A fresh one."""
        return cls(secrets.token_urlsafe(_TOKEN_BYTES))

    @property
    def sha256(self) -> str:
        """What the row keeps."""
        return hashlib.sha256(self.value.encode()).hexdigest()


def worker_settings(
    record: StreamRecord, generation: int, token: PublishToken, events_dir: Path | None
) -> dict[str, Any]:
    """The settings of the first line, by field name.

    Raises:
        InvalidInputError: the row does not say where the media lies.
    """
    media = record.media
    if media is None:
        raise InvalidInputError(
            f"The row of {record.stream_id} has no media server.", remedy="Publish the stream again."
        )
    settings: dict[str, Any] = {
        **plain(record.settings),
        "stream_id": record.stream_id,
        "generation": generation,
        "input_url": f"{media.play_base_url.rstrip('/')}/live/{record.stream_id}/in",
        "output_url": f"{media.publish_base_url.rstrip('/')}/live/{record.stream_id}/out?token={token.value}",
        # Several workers share the host: one port cannot be all theirs. The agent shows their figures.
        "metrics_port": 0,
        "die_with_parent": True,
    }
    if events_dir is not None:
        settings["events_path"] = str(events_dir / f"{record.stream_id}.jsonl")
    return settings


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """What a new revision asks of a running worker: hot fields with their new values, or a restart."""

    hot: Mapping[str, Any]
    cold: tuple[str, ...]


def compare(before: Mapping[str, Any], record: StreamRecord) -> SettingsChange:
    """The difference between the settings a worker was given and those in the row now.

    A field that was taken out of the row goes back to the host's default.

    Raises:
        ConfigurationError: this host cannot make sense of the new settings.
    """
    now = plain(record.settings)
    names = {name for name in {*before, *now} if before.get(name) != now.get(name)}
    cold = tuple(sorted(names - HOT_FIELDS))
    if cold or not names:
        return SettingsChange({}, cold)
    whole = _as_worker_reads(record.stream_id, now)
    return SettingsChange(whole.model_dump(mode="json", include=names), ())


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them."""
    return {name: _plain_value(value) for name, value in settings.items() if value is not None}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {name: _plain_value(entry) for name, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(entry) for entry in cast("Sequence[Any]", value)]
    return value


def _as_worker_reads(stream_id: str, settings: Mapping[str, Any]) -> WorkerSettings:
    path = f"rtmp://127.0.0.1/live/{stream_id}"
    return read_settings(
        {**settings, "stream_id": stream_id, "input_url": f"{path}/in", "output_url": f"{path}/out"}
    )
