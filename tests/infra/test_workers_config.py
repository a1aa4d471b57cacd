"""The configuration of worker hosts, of who does speech to speech, and of the GPU host."""

from __future__ import annotations

from typing import Any

import pytest

from infra.network_config import NetworkConfig
from infra.workers_config import GpuHostConfig, Occasion, StsConfig, WorkersConfig
from livedub.errors import ConfigurationError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"image": "debian-12"}, "workers.image"),
        ({"image_brings": ("docker",)}, "workers.image_brings"),
        ({"instance_type": "large"}, "workers.instance_type"),
        ({"instance_type": "c7gn.large"}, "workers.instance_type c7gn.large cannot run"),
        ({"instance_type": "t2.medium"}, "workers.instance_type t2.medium cannot run"),
        ({"slots": 0}, "workers.slots"),
        ({"root_gb": 4}, "workers.root_gb"),
        ({"keeps": "all"}, "workers.keeps"),
        ({"free_gb": 0}, "workers.free_gb"),
        ({"free_gb": 20}, "workers.free_gb 20 is not less than root_gb 20"),
        ({"max_hosts": 0}, "workers.max_hosts"),
        ({"min_hosts": 5, "max_hosts": 4}, "workers.min_hosts"),
        ({"spare_slots": -1}, "workers.spare_slots"),
        ({"idle_minutes": 1_441}, "workers.idle_minutes"),
        ({"drain_s": 5}, "workers.drain_s"),
        ({"refresh": "some"}, "workers.refresh"),
        ({"drain_s": 10, "delay_ms": 10_000}, "workers.drain_s"),
        ({"occasions": (Occasion("Match", "0 18 * * SAT", 5),)}, "workers.occasions Match"),
        ({"occasions": (Occasion("Match", "0 18 * * SAT", 2),) * 2}, "workers.occasions"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key_and_with_a_remedy(given: dict[str, Any], key: str):
    with pytest.raises(ConfigurationError, match=key) as error:
        WorkersConfig(**given)
    assert error.value.remedy


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"name": "on saturday", "cron": "0 18 * * SAT"}, "name"),
        ({"name": "Match", "cron": "at six"}, "cron"),
        ({"name": "Match", "cron": "0 18 * * SAT", "time_zone": "Europe/Nowhere"}, "time zone"),
    ],
)
def test_an_occasion_is_one_that_auto_scaling_takes(given: dict[str, Any], key: str):
    with pytest.raises(ConfigurationError, match=key):
        Occasion(min_hosts=1, **given)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"container": "repository:latest"}, "gpu_host.container"),
        ({"image": "ubuntu"}, "gpu_host.image"),
        ({"instance_type": "gpu"}, "gpu_host.instance_type"),
        ({"instance_type": "g5g.xlarge"}, "gpu_host.instance_type g5g.xlarge cannot run"),
        ({"port": 80}, "gpu_host.port"),
        ({"models_gb": 1}, "gpu_host.models_gb"),
        ({"root_gb": 10}, "gpu_host.root_gb"),
    ],
)
def test_a_gpu_host_that_cannot_be(given: dict[str, Any], key: str):
    with pytest.raises(ConfigurationError, match=key):
        GpuHostConfig(**given)


@pytest.mark.parametrize("address", ["10.0.1.30", "10.0.16.2", "10.0.31.255", "gpu.internal"])
def test_the_gpu_host_is_in_the_first_private_subnet(address: str):
    with pytest.raises(ConfigurationError, match=r"gpu_host\.private_ip"):
        GpuHostConfig(private_ip=address).check_place(NetworkConfig())


def test_its_address_is_the_service():
    gpu = GpuHostConfig(private_ip="10.0.16.40", port=9000, container=f"registry.example/sts@{DIGEST}")
    gpu.check_place(NetworkConfig())
    assert gpu.url == "http://10.0.16.40:9000"
    assert gpu.checked_container().endswith(DIGEST)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"source": "somewhere"}, "sts.source"),
        ({"runpod_endpoint_id": "https://api.runpod.ai"}, "sts.runpod_endpoint_id"),
        ({"runpod_base_url": "api.runpod.ai"}, "sts.runpod_base_url"),
    ],
)
def test_a_service_that_cannot_be(given: dict[str, Any], key: str):
    with pytest.raises(ConfigurationError, match=key):
        StsConfig(**given)


def test_what_only_the_deployer_knows_is_asked_for_with_its_context():
    for asked, context in (
        (WorkersConfig().checked_image, "-c worker_image="),
        (GpuHostConfig().checked_image, "-c gpu_host_image="),
        (GpuHostConfig().checked_container, "-c gpu_host_container="),
        (StsConfig().checked_endpoint_id, "-c runpod_endpoint_id="),
    ):
        with pytest.raises(ConfigurationError) as error:
            asked()
        assert context in error.value.remedy
    assert StsConfig(source="gpu_host").checked_endpoint_id() == ""
