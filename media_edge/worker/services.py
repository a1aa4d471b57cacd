"""The services that a worker uses, as its agent names them: variables such as STS_SERVICE_URL, which may change any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.settings import fields_of
from media_edge.worker.settings import WorkerSettings, read_settings

_CONNECTION = ("sts_url", "sts_api_key", "sts_hedge_url", "sts_hedge_api_key", "sts_runpod_base_url")


def sts_fields(services: object) -> dict[str, str]:
    """Settings of the speech-to-speech service in what an agent said, by field name; empty where it said nothing."""
    return {
        name: value
        for name, value in fields_of(WorkerSettings, _named(services)).items()
        if name.startswith("sts_")
    }


def read_media_cache(services: object) -> MediaCacheSettings:
    """The media cache in what an agent said; the environment gives the defaults.

    Raises:
        ConfigurationError: a value is malformed.
    """
    return MediaCacheSettings.load(fields_of(MediaCacheSettings, _named(services)))


def with_sts(settings: WorkerSettings, services: object) -> WorkerSettings:
    """`settings` with where and how the speech-to-speech service is reached; nothing else changes while a worker runs.

    Raises:
        ConfigurationError: a value is malformed.
    """
    said = {name: value for name, value in sts_fields(services).items() if name in _CONNECTION}
    return read_settings({**{name: getattr(settings, name) for name in type(settings).model_fields}, **said})


def same_sts(one: WorkerSettings, other: WorkerSettings) -> bool:
    """Whether both reach the same service the same way."""
    return all(getattr(one, name) == getattr(other, name) for name in _CONNECTION)


def _named(services: object) -> dict[str, str]:
    if not isinstance(services, Mapping):
        return {}
    said = cast("Mapping[Any, Any]", services)
    return {str(name): value for name, value in said.items() if isinstance(value, str)}
