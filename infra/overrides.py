"""What the context of one deployment may change of an environment: `cdk deploy -c media_cache_port=9443`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from constructs import Node

from infra.config import EnvironmentConfig
from livedub.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Override:
    """A context value and where it belongs.

    Attributes:
        part: the field of EnvironmentConfig.
        key: the field of that part.
        read: makes the part's value of the context's; ValueError where it cannot.
        takes: for whoever gave something else.
    """

    part: str
    key: str
    read: Callable[[Any], Any] = str
    takes: str = "a text"


def _on_or_off(value: Any) -> bool:
    if value not in {"on", "off"}:
        raise ValueError(value)
    return value == "on"


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name.strip() for name in str(value).split(",") if name.strip())


OVERRIDES: Mapping[str, Override] = MappingProxyType(
    {
        "alarm_emails": Override("observability", "notify", _names, "addresses, a comma between them"),
        "media_host": Override("media", "host", _on_or_off, "on or off"),
        "media_image": Override("media", "image"),
        "media_cache_host": Override("media_cache", "host", _on_or_off, "on or off"),
        "media_cache_image": Override("media_cache", "image"),
        "gpu_host": Override("gpu_host", "present", _on_or_off, "on or off"),
        "gpu_host_image": Override("gpu_host", "image"),
        "gpu_host_container": Override("gpu_host", "container"),
        "runpod_base_url": Override("sts", "runpod_base_url"),
        "runpod_endpoint_id": Override("sts", "runpod_endpoint_id"),
        "sts_source": Override("sts", "source"),
        "worker_image": Override("workers", "image"),
        "worker_refresh": Override("workers", "refresh"),
        "worker_image_brings": Override(
            "workers", "image_brings", _names, "ssm-agent, packages, a comma between them"
        ),
        "media_cache_port": Override("media_cache", "port", int, "a number"),
    }
)
"""By the name in the context."""


def overridden(config: EnvironmentConfig, values: Node | Mapping[str, Any]) -> EnvironmentConfig:
    """`config` with what `values`, a construct's context or the like of it, names of OVERRIDES.

    Raises:
        ConfigurationError: a value that cannot be read, or that the part refuses.
    """
    found = values.get if isinstance(values, Mapping) else values.try_get_context
    for name, override in OVERRIDES.items():
        value = found(name)
        if value is None:
            continue
        try:
            read = override.read(value)
        except ValueError as error:
            raise ConfigurationError(
                f"context {name} is {value!r}.", remedy=f"Give {override.takes}."
            ) from error
        part = replace(getattr(config, override.part), **{override.key: read})
        config = replace(config, **{override.part: part})
    return config
