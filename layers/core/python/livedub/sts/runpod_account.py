"""RunPod's account API v2 in our terms: what it answers, what is sent, and how the two are compared. Pure.

Shapes: docs.runpod.io/api-reference-v2/openapi.json, version 2.0.0. Version 1 of that API was retired on 15 November
2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from livedub.sts.runpod_endpoint_spec import QueueDelay, RunpodEndpointSpec, is_reference, is_sensitive

QUEUE = "QUEUE"
ABSENT = "(none)"
_HIDDEN = "(hidden)"
_GROUPS = {
    "gpu": "gpu",
    "workers": "workers",
    "scaling": "scaling",
    "data_centers": "dataCenterIds",
    "network_volumes": "networkVolumes",
    "job_timeout_s": "timeout",
    "flashboot": "flashboot",
}
"""RunPod's field for each group of placement settings."""

Json = dict[str, Any]
Settings = Mapping[str, Any]
"""By dotted name, such as `workers.max`."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class _Container(_Answer):
    image: str = ""
    args: str = ""
    disk: int = 0
    ports: list[str] = []
    env: dict[str, str] = {}
    registry: str | None = None

    def container(self) -> dict[str, Any]:
        """Its settings, one entry per variable of `env`."""
        return {
            "image": self.image,
            "args": self.args,
            "disk_gb": self.disk,
            "ports": tuple(self.ports),
            "registry": self.registry or "",
            **{f"env.{name}": value for name, value in self.env.items()},
        }


class Template(_Container):
    """A template of the account."""

    id: str = Field(min_length=1)
    name: str
    serverless: bool = False


class _Gpu(_Answer):
    pools: list[str] = []
    excluded_types: list[str] = []
    count: int = 1
    allowed_cuda_versions: list[str] = []
    min_cuda_version: str | None = None


class _Workers(_Answer):
    min: int
    max: int
    idle_timeout: int | None = None


class _Scaling(_Answer):
    type: str
    queue_delay: float | None = None
    request_count: int | None = None


class RunpodEndpoint(_Container):
    """A serverless endpoint of the account."""

    id: str = Field(min_length=1)
    name: str
    type: str = ""
    gpu: _Gpu | None = None
    workers: _Workers
    scaling: _Scaling
    data_center_ids: list[str] = []
    network_volumes: list[str] = []
    timeout: int
    flashboot: str = "OFF"

    @property
    def service_url(self) -> str:
        """STS_SERVICE_URL of whoever sends it jobs."""
        return f"runpod://{self.id}"

    def placement(self) -> dict[str, Any]:
        """Everything besides its container."""
        gpu = self.gpu or _Gpu()
        return {
            "gpu.pools": tuple(sorted(gpu.pools)),
            "gpu.excluded_types": tuple(sorted(gpu.excluded_types)),
            "gpu.count": gpu.count,
            "gpu.min_cuda_version": gpu.min_cuda_version or "",
            "gpu.allowed_cuda_versions": tuple(sorted(gpu.allowed_cuda_versions)),
            "workers.min": self.workers.min,
            "workers.max": self.workers.max,
            "workers.idle_timeout_s": self.workers.idle_timeout,
            "scaling.type": self.scaling.type,
            "scaling.queue_delay_s": self.scaling.queue_delay,
            "scaling.request_count": self.scaling.request_count,
            "data_centers": tuple(sorted(self.data_center_ids)),
            "network_volumes": tuple(sorted(self.network_volumes)),
            "job_timeout_s": self.timeout / 1_000,
            "flashboot": self.flashboot,
        }


class _Pagination(_Answer):
    has_next_page: bool = False
    next_cursor: str | None = None


class Page(_Answer):
    """A list, or a part of a long one."""

    pagination: _Pagination = _Pagination()

    @property
    def next_cursor(self) -> str:
        """What asks for the next part; empty after the last."""
        return (self.pagination.next_cursor or "") if self.pagination.has_next_page else ""


class TemplateList(Page):
    """Templates of the account."""

    templates: list[Template]


class EndpointList(Page):
    """Endpoints of the account."""

    endpoints: list[RunpodEndpoint]


class WorkerSummary(_Answer):
    """How many workers there are of each kind."""

    running: int
    idle: int
    initializing: int
    throttled: int
    unhealthy: int
    total: int


class WorkerList(_Answer):
    """The workers of an endpoint."""

    summary: WorkerSummary


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that is not what it shall be."""

    setting: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.setting}: {shown(self.setting, self.before)} -> {shown(self.setting, self.after)}"


def differences(actual: Settings, wanted: Settings) -> list[Change]:
    """What would have to change, by name; a setting that `wanted` does not know is one too many."""
    return [
        Change(name, actual.get(name, ABSENT), wanted.get(name, ABSENT))
        for name in sorted({*actual, *wanted})
        if actual.get(name, ABSENT) != wanted.get(name, ABSENT)
    ]


def wanted_container(spec: RunpodEndpointSpec) -> dict[str, Any]:
    """`_Container.container` of what `spec` asks for."""
    return Template(id="wanted", name="wanted", **container_body(spec)).container()


def wanted_placement(spec: RunpodEndpointSpec, actual: Settings) -> dict[str, Any]:
    """`RunpodEndpoint.placement` of what `spec` asks for; where it leaves something open, as it is in `actual`."""
    queue_delay = isinstance(spec.scaling, QueueDelay)
    data_centers = actual.get("data_centers", ()) if spec.data_centers is None else spec.data_centers
    volumes = _volumes(spec)
    return {
        "gpu.pools": tuple(sorted(spec.gpu.pools)),
        "gpu.excluded_types": tuple(sorted(spec.gpu.excluded_types)),
        "gpu.count": spec.gpu.count,
        "gpu.min_cuda_version": spec.gpu.min_cuda_version,
        "gpu.allowed_cuda_versions": (),
        "workers.min": spec.workers.min,
        "workers.max": spec.workers.max,
        # RunPod's answers may keep it beside REQUEST_COUNT, where it means nothing.
        "workers.idle_timeout_s": spec.idle_timeout_s
        if queue_delay
        else actual.get("workers.idle_timeout_s"),
        "scaling.type": spec.scaling.type,
        "scaling.queue_delay_s": spec.scaling.queue_delay_s if isinstance(spec.scaling, QueueDelay) else None,
        "scaling.request_count": None if isinstance(spec.scaling, QueueDelay) else spec.scaling.request_count,
        "data_centers": tuple(sorted(data_centers)),
        "network_volumes": actual.get("network_volumes", ()) if volumes is None else tuple(volumes),
        "job_timeout_s": float(spec.job_timeout_s),
        "flashboot": spec.flashboot,
    }


def container_body(spec: RunpodEndpointSpec) -> Json:
    """The container's settings as they are sent; the queue worker is what the image does without arguments."""
    return {
        "image": spec.checked_image(),
        "args": "",
        "disk": spec.disk_gb,
        "ports": [],
        "env": dict(spec.env),
        "registry": spec.registry or None,
    }


def template_body(name: str, spec: RunpodEndpointSpec) -> Json:
    """Of a new template. RunPod would start ssh and Jupyter unless told otherwise."""
    return {
        "name": name,
        "serverless": True,
        "public": False,
        "startSsh": False,
        "startJupyter": False,
        **container_body(spec),
    }


def endpoint_body(name: str, spec: RunpodEndpointSpec) -> Json:
    """Of a new endpoint, without its template."""
    return {"name": name, "type": QUEUE, **_placement_body(spec, new=True)}


def changed_placement_body(spec: RunpodEndpointSpec, changes: Iterable[Change]) -> Json:
    """What is sent for these changes: each group of settings whole, and no group that is as it shall be."""
    groups = {_GROUPS[change.setting.partition(".")[0]] for change in changes}
    return {name: value for name, value in _placement_body(spec, new=False).items() if name in groups}


def _placement_body(spec: RunpodEndpointSpec, *, new: bool) -> Json:
    """Everything besides the container; of an endpoint that is there, what was set before is taken back."""
    workers = {"min": spec.workers.min, "max": spec.workers.max, "idleTimeout": spec.idle_timeout_s}
    scaling = (
        {"type": spec.scaling.type, "queueDelay": spec.scaling.queue_delay_s}
        if isinstance(spec.scaling, QueueDelay)
        else {"type": spec.scaling.type, "requestCount": spec.scaling.request_count}
    )
    body: Json = {
        "gpu": _gpu_body(spec, new=new),
        "workers": {name: value for name, value in workers.items() if value is not None},
        "scaling": scaling,
        "timeout": spec.job_timeout_s * 1_000,
        "flashboot": spec.flashboot,
    }
    if spec.data_centers is not None:
        body["dataCenterIds"] = list(spec.data_centers)
    volumes = _volumes(spec)
    if volumes is not None:
        body["networkVolumes"] = volumes
    return body


def _volumes(spec: RunpodEndpointSpec) -> list[str] | None:
    """What shall be attached; None for what is."""
    if spec.network_volume is None:
        return None
    return [spec.network_volume] if spec.network_volume else []


def _gpu_body(spec: RunpodEndpointSpec, *, new: bool) -> Json:
    gpu: Json = {
        "pools": list(spec.gpu.pools),
        "excludedTypes": list(spec.gpu.excluded_types),
        "count": spec.gpu.count,
        # The two exclude each other, but for a list that is empty.
        "allowedCudaVersions": [],
    }
    if spec.gpu.min_cuda_version or not new:
        gpu["minCudaVersion"] = spec.gpu.min_cuda_version
    return gpu


def shown(setting: str, value: Any) -> str:
    """A setting's value for people; of a variable that holds a secret, nothing."""
    name = setting.removeprefix("env.")
    if name != setting and is_sensitive(name) and value != ABSENT and not is_reference(str(value)):
        return _HIDDEN
    if value in (None, (), ""):
        return ABSENT
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
