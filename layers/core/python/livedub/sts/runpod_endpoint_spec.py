"""What a RunPod queue endpoint of ours shall be: the file `runpod-endpoint.json`, checked. Pure.

Fields and their bounds: RunPod's REST API v2, CreateEndpointRequest and CreateTemplateRequest of
docs.runpod.io/api-reference-v2/openapi.json.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from livedub.errors import ConfigurationError

_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SENSITIVE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)(_|$)", re.IGNORECASE)
_REFERENCE = re.compile(r"\{\{ ?RUNPOD_SECRET_\w+ ?\}\}")
_DEFAULT_IDLE_S = 60
_VOLUME_FOLDER = "/runpod-volume"
"""Where a worker finds its network volume: docs.runpod.io/storage/network-volumes."""

_Name = Annotated[str, Field(pattern=r"^\S+$", max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Gpu(_Part):
    """Which cards a worker may get.

    Attributes:
        pools: RunPod's pools of cards, such as ADA_24; a worker gets whichever has room.
        excluded_types: cards of those pools that are not wanted, by RunPod's type id.
        count: cards of one worker.
        min_cuda_version: lowest that the host's driver must be for; empty for any.
    """

    pools: list[_Name] = Field(min_length=1)
    excluded_types: list[Annotated[str, Field(min_length=1, max_length=100)]] = []
    count: int = Field(default=1, ge=1, le=8)
    min_cuda_version: str = Field(default="12.8", pattern=r"^(\d+\.\d+)?$")


class Workers(_Part):
    """How many there are.

    Attributes:
        min: always on, and paid for.
        max: bound of the bill.
        idle_timeout_s: how long a worker without a job stays; RunPod knows it for QUEUE_DELAY alone.
    """

    min: int = Field(default=0, ge=0, le=1_000)
    max: int = Field(default=3, ge=1, le=1_000)
    idle_timeout_s: int | None = Field(default=None, ge=1, le=3_600)

    @model_validator(mode="after")
    def _ordered(self) -> Workers:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, more than max, {self.max}")
        return self


class QueueDelay(_Part):
    """Another worker once a job has waited for `queue_delay_s`."""

    type: Literal["QUEUE_DELAY"]
    queue_delay_s: float = Field(default=1.0, ge=0.5, le=3_600)


class RequestCount(_Part):
    """As many workers as there are jobs, waiting or in work, divided by `request_count`."""

    type: Literal["REQUEST_COUNT"]
    request_count: int = Field(ge=1, le=10_000)


class RunpodEndpointSpec(_Part):
    """The endpoint and the template behind it.

    Attributes:
        image: the worker's image, by digest: a tag may mean something else tomorrow, and workers that differ. Empty
            leaves the deployed one.
        registry: RunPod's id of the credentials of a private registry; empty for a public one.
        disk_gb: of a worker's container.
        env: variables of the worker; what is secret, only as `{{ RUNPOD_SECRET_name }}`.
        data_centers: where workers may be; None leaves that as it is, and to RunPod at first.
        network_volume: id of the volume with the models; empty for none, None leaves what is deployed.
        job_timeout_s: when RunPod gives a job up that says nothing else itself.
        flashboot: RunPod's faster cold start.
    """

    image: str = ""
    registry: str = ""
    disk_gb: int = Field(default=30, ge=1, le=1_000)
    env: dict[str, str] = {}
    gpu: Gpu
    workers: Workers = Workers()
    scaling: QueueDelay | RequestCount = Field(default=QueueDelay(type="QUEUE_DELAY"), discriminator="type")
    data_centers: list[_Name] | None = None
    network_volume: str | None = None
    job_timeout_s: int = Field(default=120, ge=5, le=604_800)
    flashboot: Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"] = "FLASHBOOT"

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable")
            if is_sensitive(name) and value and not _REFERENCE.fullmatch(value):
                raise ValueError(
                    f"{name} looks like a secret: everybody who opens the endpoint in RunPod's console reads it there. "
                    "Make a RunPod secret of it and write {{ RUNPOD_SECRET_its_name }}"
                )
        return env

    @model_validator(mode="after")
    def _one_idea_of_scaling(self) -> RunpodEndpointSpec:
        if isinstance(self.scaling, RequestCount) and self.workers.idle_timeout_s is not None:
            raise ValueError(
                "workers.idle_timeout_s goes with scaling QUEUE_DELAY alone; RunPod refuses it beside REQUEST_COUNT"
            )
        return self

    @property
    def idle_timeout_s(self) -> int | None:
        """What is sent for workers.idle_timeout_s; None for nothing."""
        if isinstance(self.scaling, RequestCount):
            return None
        return self.workers.idle_timeout_s or _DEFAULT_IDLE_S

    def check_volume(self, *, attached: bool) -> None:
        """Refuse a worker that looks for its models on a volume it has not.

        Raises:
            ConfigurationError: naming the variable.
        """
        on_volume = [name for name, value in self.env.items() if value.startswith(_VOLUME_FOLDER)]
        if on_volume and not attached:
            raise ConfigurationError(
                f"env.{on_volume[0]} lies on a network volume, and network_volume names none.",
                remedy="Make a volume, fill it (docs/gpu.md, Pod) and give --network-volume ID; or build the models into "
                "the image and name their folder there.",
            )

    def checked_image(self) -> str:
        """`image`, which must name one image for good.

        Raises:
            ConfigurationError: it is missing, or no digest.
        """
        if not self.image:
            raise ConfigurationError(
                "image is missing: which image shall workers run?",
                remedy="Push the image of gpu_handler/Dockerfile and give --image REGISTRY/livedub-sts@sha256:DIGEST.",
            )
        if not _DIGEST.fullmatch(self.image):
            raise ConfigurationError(
                f"image {self.image!r} is no digest: a tag can be moved, and workers would differ from each other.",
                remedy="Give REGISTRY/NAME@sha256:DIGEST; docker push prints the digest.",
            )
        return self.image


def is_sensitive(name: str) -> bool:
    """Whether a variable of that name holds a secret, as far as a name tells."""
    return _SENSITIVE.search(name) is not None


def is_reference(value: str) -> bool:
    """Whether `value` names a RunPod secret and holds none."""
    return _REFERENCE.fullmatch(value) is not None


def read_spec(path: Path) -> RunpodEndpointSpec:
    """The file at `path`.

    Raises:
        ConfigurationError: it cannot be read, or says something that no endpoint can be.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.",
            remedy="Give the file that describes the endpoint: --file runpod-endpoint.json of the checkout.",
        ) from error
    try:
        return RunpodEndpointSpec.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors(include_url=False, include_input=False)))
        raise ConfigurationError(f"{path}: {problems}.", remedy="See docs/runpod.md, Deploy.") from None


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    said = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
