"""The fleet of worker hosts, who does their speech to speech, and the optional GPU host: typed, checked before synthesis."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, get_args
from zoneinfo import available_timezones

from infra.host_checks import (
    DEBIAN_IMAGE,
    check_address,
    check_choice,
    check_image,
    check_instance_type,
    check_made_from,
    image_of,
)
from infra.network_config import NetworkConfig
from livedub.errors import ConfigurationError

StsSource = Literal["runpod", "gpu_host"]
Brought = Literal["ssm-agent", "packages"]
Refresh = Literal["idle", "all"]
Kept = Literal["nothing", "subtitles", "recordings"]

_ENDPOINT = re.compile(r"[a-z0-9]{6,32}")
_CRON = re.compile(r"[0-9*/,-]+( [0-9A-Za-z*/,-]+){4}")
_DIGEST = re.compile(r"[a-z0-9][a-z0-9._:/-]+@sha256:[0-9a-f]{64}")
_UBUNTU_GPU = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something that is known beforehand: from when on there are more hosts, or fewer again.

    Attributes:
        name: its own in the fleet.
        cron: minute, hour, day, month and day of the week, such as `30 18 * * SAT`.
        min_hosts: from then on.
        time_zone: of `cron`.
    """

    name: str
    cron: str
    min_hosts: int
    time_zone: str = "Etc/UTC"

    def __post_init__(self) -> None:
        """Refuse what auto scaling would refuse."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,63}", self.name):
            raise ConfigurationError(
                f"workers.occasions name {self.name!r} is none.", remedy="Take letters and digits."
            )
        if not _CRON.fullmatch(self.cron):
            raise ConfigurationError(
                f"workers.occasions {self.name} has cron {self.cron!r}.",
                remedy="Give five fields, such as 30 18 * * SAT.",
            )
        if self.time_zone not in available_timezones():
            raise ConfigurationError(
                f"workers.occasions {self.name} has time zone {self.time_zone!r}.",
                remedy="Give one such as Europe/Madrid.",
            )


@dataclass(frozen=True, slots=True)
class WorkersConfig:
    """The worker hosts of one environment.

    Attributes:
        image: Debian 12 for amd64 in the region of the deployment. Never "the latest": whoever deploys decides when.
        image_brings: what `image` has already, so that hosts need not fetch it: `ssm-agent`, `packages` (those of
            setup/debian/worker.txt). An image with both starts sooner and asks no Debian mirror.
        instance_type: amd64.
        root_gb: of the disk that goes with the machine; event logs lie on it, and what waits for its upload to the library.
        keeps: what streams leave for the library: `recordings` are subtitles and what was sent, whole.
        free_gb: of that disk, which what waits for its upload never takes.
        slots: streams that a host dubs at once.
        min_hosts: always there.
        max_hosts: never more.
        spare_slots: free slots that the fleet keeps, so that a stream waits for no machine to boot.
        idle_minutes: so long must a host be without streams, and not needed, before it goes.
        drain_s: how long the streams of a host that goes away may play out there; longer than the longest D.
        delay_ms: D of streams that name none.
        refresh: which hosts a deployment replaces that changes what hosts are made of: `idle` ones (the others go when
            their last stream has ended and they are not needed), or `all`, whose streams play out and go on elsewhere.
        occasions: when how many hosts are there at least.
    """

    image: str = ""
    image_brings: tuple[Brought, ...] = ()
    instance_type: str = "c6i.xlarge"
    root_gb: int = 20
    keeps: Kept = "subtitles"
    free_gb: int = 5
    slots: int = 4
    min_hosts: int = 1
    max_hosts: int = 4
    spare_slots: int = 1
    idle_minutes: int = 15
    drain_s: int = 120
    delay_ms: int = 8_000
    refresh: Refresh = "idle"
    occasions: tuple[Occasion, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_image("workers.image", self.image)
        check_instance_type("workers.instance_type", self.instance_type)
        check_choice("workers.refresh", self.refresh, get_args(Refresh))
        check_choice("workers.keeps", self.keeps, get_args(Kept))
        for brought in self.image_brings:
            check_choice("workers.image_brings", brought, get_args(Brought))
        for what, value, least, most in (
            ("root_gb", self.root_gb, 8, 1_000),
            ("free_gb", self.free_gb, 1, 1_000),
            ("slots", self.slots, 1, 64),
            ("min_hosts", self.min_hosts, 0, 100),
            ("max_hosts", self.max_hosts, 1, 100),
            ("spare_slots", self.spare_slots, 0, 640),
            # CloudWatch looks at no more than a day.
            ("idle_minutes", self.idle_minutes, 1, 1_440),
            ("drain_s", self.drain_s, 10, 7_200),
            ("delay_ms", self.delay_ms, 1_000, 60_000),
        ):
            if not least <= value <= most:
                raise ConfigurationError(
                    f"workers.{what} is {value}.", remedy=f"Take one from {least} to {most}."
                )
        if self.min_hosts > self.max_hosts:
            raise ConfigurationError(
                f"workers.min_hosts {self.min_hosts} is more than max_hosts {self.max_hosts}.",
                remedy="Raise max_hosts.",
            )
        if self.keeps != "nothing" and self.free_gb >= self.root_gb:
            raise ConfigurationError(
                f"workers.free_gb {self.free_gb} is not less than root_gb {self.root_gb}: nothing could be kept.",
                remedy="Raise root_gb, or take keeps='nothing'.",
            )
        if self.drain_s * 1_000 <= self.delay_ms:
            raise ConfigurationError(
                f"workers.drain_s {self.drain_s} is not longer than delay_ms {self.delay_ms}.",
                remedy="What is buffered must have time to play out.",
            )
        self._check_occasions()

    def checked_image(self) -> str:
        """The image to start hosts from.

        Raises:
            ConfigurationError: there is none.
        """
        return image_of("workers.image", self.image, context="worker_image", parameter=DEBIAN_IMAGE)

    def _check_occasions(self) -> None:
        names = [occasion.name for occasion in self.occasions]
        if len(set(names)) != len(names):
            raise ConfigurationError("workers.occasions has a name twice.", remedy="Give each one its own.")
        for occasion in self.occasions:
            if not 0 <= occasion.min_hosts <= self.max_hosts:
                raise ConfigurationError(
                    f"workers.occasions {occasion.name} wants {occasion.min_hosts} hosts.",
                    remedy=f"Take 0 to max_hosts {self.max_hosts}, or raise that.",
                )


@dataclass(frozen=True, slots=True)
class GpuHostConfig:
    """The machine with a GPU that serves STS, where `sts.source` is `gpu_host`.

    Attributes:
        private_ip: by which worker hosts reach it, in the first private subnet.
        port: HTTP, inside the network.
        image: Ubuntu LTS with NVIDIA's driver, Docker and the NVIDIA container toolkit.
        instance_type: with one GPU.
        container: the image of gpu_handler/Dockerfile, by digest, in a registry of this account or a public one.
        root_gb: of the disk that goes with the machine; the container's layers lie on it.
        models_gb: of the volume with models and caches, which outlives the machine.
        models_from: what that volume was made from, once it has been replaced; as `media.recordings_from`.
        present: whether there is the machine. Off for one deployment while it is replaced: no two can have its address.
    """

    private_ip: str = "10.0.16.30"
    port: int = 8000
    image: str = ""
    instance_type: str = "g5.xlarge"
    container: str = ""
    root_gb: int = 100
    models_gb: int = 100
    models_from: str = ""
    present: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_image("gpu_host.image", self.image)
        check_instance_type("gpu_host.instance_type", self.instance_type)
        check_made_from("gpu_host.models_from", self.models_from)
        if self.container and not _DIGEST.fullmatch(self.container):
            raise ConfigurationError(
                f"gpu_host.container {self.container!r} names no digest.",
                remedy="Give REPOSITORY@sha256:..., as `docker push` prints it.",
            )
        for what, value, least, most in (
            ("port", self.port, 1_024, 65_535),
            ("root_gb", self.root_gb, 50, 1_000),
            ("models_gb", self.models_gb, 30, 16_384),
        ):
            if not least <= value <= most:
                raise ConfigurationError(
                    f"gpu_host.{what} is {value}.", remedy=f"Take one from {least} to {most}."
                )

    @property
    def url(self) -> str:
        """STS_SERVICE_URL of worker hosts."""
        return f"http://{self.private_ip}:{self.port}"

    def check_place(self, network: NetworkConfig) -> None:
        """See that `private_ip` can be had in `network`.

        Raises:
            ConfigurationError: it is outside of the first private subnet, or one that AWS keeps for itself.
        """
        subnet = ipaddress.IPv4Network(network.private[0])
        check_address("gpu_host.private_ip", self.private_ip, subnet, "network.private")

    def checked_image(self) -> str:
        """The image to start the host from.

        Raises:
            ConfigurationError: there is none.
        """
        return image_of("gpu_host.image", self.image, context="gpu_host_image", parameter=_UBUNTU_GPU)

    def checked_container(self) -> str:
        """The container to run.

        Raises:
            ConfigurationError: there is none.
        """
        if not self.container:
            raise ConfigurationError(
                "gpu_host.container is not set.",
                remedy="Push the image of gpu_handler/Dockerfile and add -c gpu_host_container=REPOSITORY@sha256:...",
            )
        return self.container


@dataclass(frozen=True, slots=True)
class StsConfig:
    """Who dubs: a RunPod endpoint, or the GPU host.

    Attributes:
        source: which of the two.
        runpod_endpoint_id: of the endpoint that `livedub runpod deploy` made.
        runpod_base_url: of RunPod's API where it is not RunPod's own.
    """

    source: StsSource = "runpod"
    runpod_endpoint_id: str = ""
    runpod_base_url: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.source not in get_args(StsSource):
            raise ConfigurationError(
                f"sts.source is {self.source!r}.", remedy=f"Take {' or '.join(get_args(StsSource))}."
            )
        if self.runpod_endpoint_id and not _ENDPOINT.fullmatch(self.runpod_endpoint_id):
            raise ConfigurationError(
                f"sts.runpod_endpoint_id {self.runpod_endpoint_id!r} is none.",
                remedy="`livedub runpod show` prints it: letters and digits.",
            )

        if self.runpod_base_url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", self.runpod_base_url):
            raise ConfigurationError(
                f"sts.runpod_base_url {self.runpod_base_url!r} is no address.",
                remedy="Give one such as https://api.runpod.ai/v2, or none.",
            )

    def checked_endpoint_id(self) -> str:
        """The RunPod endpoint; empty where the GPU host dubs.

        Raises:
            ConfigurationError: RunPod is to dub, and there is none.
        """
        if self.source != "runpod":
            return ""
        if not self.runpod_endpoint_id:
            raise ConfigurationError(
                "sts.runpod_endpoint_id is not set.",
                remedy="Run `livedub runpod deploy` and add -c runpod_endpoint_id=ID, or take -c sts_source=gpu_host.",
            )
        return self.runpod_endpoint_id
