"""What RunPod's account API takes, as strict as its OpenAPI document (docs.runpod.io/api-reference-v2, 2.0.0).

Written for itself and not shared with `livedub.sts`, so that a field misnamed there is refused here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Version = Annotated[str, Field(pattern=r"^\d+\.\d+$")]
FlashBoot = Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=False)


class Container(_Request):
    """ContainerConfig."""

    image: str | None = None
    args: str | None = None
    disk: int | None = Field(default=None, ge=1)
    ports: list[str] | None = None
    env: dict[str, str] | None = None
    registry: str | None = None


class NewTemplate(Container):
    """CreateTemplateRequest; mounts are left out."""

    name: str = Field(min_length=1)
    image: str  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    serverless: bool = False
    public: bool = False
    category: Literal["NVIDIA", "AMD", "CPU"] = "NVIDIA"
    start_ssh: bool = True
    start_jupyter: bool = True
    allowed_cuda_versions: list[Version] = []


class TemplateChange(Container):
    """UpdateTemplateRequest; mounts are left out."""

    name: str | None = Field(default=None, min_length=1)
    serverless: bool | None = None
    public: bool | None = None
    category: Literal["NVIDIA", "AMD", "CPU"] | None = None
    start_ssh: bool | None = None
    start_jupyter: bool | None = None
    allowed_cuda_versions: list[Version] | None = None


class NewGpu(_Request):
    """CreateEndpointGpuConfig."""

    pools: list[str] = Field(min_length=1)
    excluded_types: list[str] = []
    count: int = Field(default=1, ge=1)
    allowed_cuda_versions: list[Version] = []
    min_cuda_version: Version | None = None


class GpuChange(_Request):
    """UpdateEndpointGpuConfig; an empty version takes the floor away."""

    pools: list[str] | None = Field(default=None, min_length=1)
    excluded_types: list[str] | None = None
    count: int | None = Field(default=None, ge=1)
    allowed_cuda_versions: list[Version] | None = None
    min_cuda_version: Annotated[str, Field(pattern=r"^$|^\d+\.\d+$")] | None = None


class Workers(_Request):
    """EndpointWorkers."""

    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)
    idle_timeout: int | None = Field(default=None, ge=1, le=3_600)


class QueueDelay(_Request):
    """QueueDelayScaling."""

    type: Literal["QUEUE_DELAY"]
    queue_delay: float = Field(ge=0.5)


class RequestCount(_Request):
    """RequestCountScaling."""

    type: Literal["REQUEST_COUNT"]
    request_count: int = Field(ge=1)


Scaling = Annotated[QueueDelay | RequestCount, Field(discriminator="type")]


class NewEndpoint(Container):
    """CreateEndpointRequest, of queue endpoints on GPUs alone."""

    name: str = Field(min_length=1)
    type: Literal["QUEUE"]
    scaling: Scaling
    gpu: NewGpu
    template_id: str | None = Field(default=None, min_length=1)
    workers: Workers = Workers()
    data_center_ids: list[str] = []
    network_volumes: list[str] = []
    timeout: int = 300_000
    flashboot: FlashBoot = "OFF"


class EndpointChange(Container):
    """UpdateEndpointRequest."""

    name: str | None = Field(default=None, min_length=1)
    scaling: Scaling | None = None
    gpu: GpuChange | None = None
    template_id: str | None = None
    workers: Workers | None = None
    data_center_ids: list[str] | None = None
    network_volumes: list[str] | None = None
    timeout: int | None = None
    flashboot: FlashBoot | None = None
