"""What cannot be deployed is refused at synthesis, in one sentence that names the key and the remedy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.config import EnvironmentConfig, environment_config
from infra.network_config import MediaCacheConfig, NetworkConfig
from infra.observability_config import ObservabilityConfig
from infra.overrides import overridden
from infra.sources import Sources
from infra.workers_config import GpuHostConfig, StsConfig, WorkersConfig
from livedub.errors import ConfigurationError, LivedubError
from tests.infra.conftest import FROM_THE_DEPLOYER, synthesize_into

DIGEST = "a" * 64


def dev(**changed: Any) -> EnvironmentConfig:
    return EnvironmentConfig(**{"name": "dev", **changed})


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: environment_config("qa"), "environment"),
        (lambda: dev(account="12"), "account"),
        (lambda: dev(token_length=8), "token_length"),
        (lambda: dev(network=NetworkConfig(cidr="10.0.0.0/33")), "network.cidr"),
        (lambda: dev(network=NetworkConfig(cidr="10.0.0.0/8")), "network.cidr"),
        (
            lambda: dev(network=NetworkConfig(isolated=("10.1.1.0/24", "10.0.2.0/24"))),
            "network.isolated",
        ),
        (lambda: dev(network=NetworkConfig(publishers=("0.0.0.0/0",))), "network.publishers"),
        (lambda: dev(media_cache=MediaCacheConfig(private_ip="10.0.2.30")), "media_cache.private_ip"),
        (lambda: dev(media_cache=MediaCacheConfig(private_ip="10.0.1.300")), "media_cache.private_ip"),
        (lambda: dev(media_cache=MediaCacheConfig(port=443)), "media_cache.port"),
        (lambda: dev(media_cache=MediaCacheConfig(image="latest")), "media_cache.image"),
        (lambda: dev(workers=WorkersConfig(image="latest")), "workers.image"),
        (lambda: dev(workers=WorkersConfig(min_hosts=5, max_hosts=4)), "workers.min_hosts"),
        (lambda: dev(workers=WorkersConfig(drain_s=10, delay_ms=10_000)), "workers.drain_s"),
        (lambda: dev(sts=StsConfig(runpod_endpoint_id="no id")), "sts.runpod_endpoint_id"),
        (
            lambda: dev(sts=StsConfig(source="gpu_host"), gpu_host=GpuHostConfig(private_ip="10.0.99.30")),
            "gpu_host.private_ip",
        ),
        (lambda: dev(gpu_host=GpuHostConfig(container="livedub/sts:latest")), "gpu_host.container"),
        (lambda: dev(observability=ObservabilityConfig(notify=("nobody",))), "observability.notify"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_configured(make: Any, key: str):
    with pytest.raises(ConfigurationError) as refused:
        make()
    check(refused.value, key)


@pytest.mark.parametrize(
    ("context", "key"),
    [
        ({"media_cache_image": ""}, "media_cache.image"),
        ({"media_image": ""}, "media.image"),
        ({"worker_image": ""}, "workers.image"),
        ({"runpod_endpoint_id": ""}, "sts.runpod_endpoint_id"),
        (
            {"sts_source": "gpu_host", "gpu_host_container": f"livedub/sts@sha256:{DIGEST}"},
            "gpu_host.image",
        ),
        (
            {"sts_source": "gpu_host", "gpu_host_image": "ami-0123456789abcdef0"},
            "gpu_host.container",
        ),
        ({"sts_source": "somebody"}, "sts.source"),
    ],
)
def test_what_only_the_deployer_knows_is_asked_for_at_synthesis(
    context: dict[str, str], key: str, sources: Sources, tmp_path: Path
):
    def deployed() -> None:
        config = overridden(environment_config("dev"), {**FROM_THE_DEPLOYER, **context})
        synthesize_into(tmp_path, config, sources)

    with pytest.raises(ConfigurationError) as refused:
        deployed()
    check(refused.value, key)
    assert "-c " in str(refused.value) or "Take" in str(refused.value)


def test_an_address_outside_of_a_subnet_that_was_moved_is_refused():
    config = environment_config("prod")
    moved = replace(config.network, isolated=("10.0.3.0/24", "10.0.2.0/24"))
    with pytest.raises(ConfigurationError) as refused:
        replace(config, network=moved)
    check(refused.value, "media_cache.private_ip")


def check(refused: LivedubError, key: str) -> None:
    text = str(refused)
    assert key in text
    assert refused.remedy
    assert "\n" not in text
    assert len(text) < 400
