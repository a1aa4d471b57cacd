"""Addresses that cannot work are refused before synthesis, in a sentence that names the key."""

from typing import Any

import pytest

from infra.config import EnvironmentConfig, environment_config
from infra.network_config import MediaCacheConfig, NetworkConfig
from livedub.errors import ConfigurationError

SMALL = {
    "cidr": "192.168.8.0/24",
    "public": ("192.168.8.0/28", "192.168.8.16/28"),
    "private": ("192.168.8.64/26", "192.168.8.128/26"),
    "isolated": ("192.168.8.32/28", "192.168.8.48/28"),
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"cidr": "10.0.0.0/33"}, "network.cidr '10.0.0.0/33' is no IPv4 network"),
        ({"cidr": "10.0.0.1/16"}, "network.cidr '10.0.0.1/16' is no IPv4 network: .*host bits"),
        ({"cidr": "10.0.0.0/8"}, "network.cidr 10.0.0.0/8 has the wrong size"),
        ({"public": ("10.0.100.0/24",)}, "network.public has 1 subnets"),
        ({"private": ("10.1.0.0/20", "10.0.32.0/20")}, "network.private 10.1.0.0/20 is not in network.cidr"),
        ({"isolated": ("10.0.1.0/24", "10.0.17.0/24")}, "private 10.0.16.0/20 and .*10.0.17.0/24 overlap"),
        ({"publishers": ("everywhere",)}, "network.publishers 'everywhere' is no IPv4 network"),
        ({"publishers": ("0.0.0.0/0",)}, "network.publishers 0.0.0.0/0 lets everybody publish"),
        ({"nat_gateways": 0}, "network.nat_gateways is 0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changed: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError, match=words) as refused:
        NetworkConfig(**changed)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"port": 443}, "media_cache.port is 443"),
        ({"instance_type": "big"}, "media_cache.instance_type 'big'"),
        ({"instance_type": "t4g.small"}, "media_cache.instance_type t4g.small cannot run"),
        ({"database_class": "big"}, "media_cache.database_class 'big'"),
        ({"database_class": ""}, "media_cache.database_class ''"),
        ({"image": "latest"}, "media_cache.image 'latest' is no image"),
        ({"volume_gb": 0}, "media_cache.volume_gb is 0"),
        ({"san_dns": "media host"}, "media_cache.san_dns 'media host'"),
    ],
)
def test_a_host_that_cannot_be_is_refused(changed: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError, match=words) as refused:
        MediaCacheConfig(**changed)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.0.2.30", "10.0.2.30 is outside of the first isolated subnet 10.0.1.0/24"),
        ("10.0.1.3", "10.0.1.3 is kept by AWS"),
        ("10.0.1.255", "10.0.1.255 is kept by AWS"),
        ("10.0.1", "'10.0.1' is no IPv4 address"),
    ],
)
def test_an_address_that_the_host_cannot_have_is_refused(address: str, words: str):
    with pytest.raises(ConfigurationError, match=words):
        EnvironmentConfig(name="dev", media_cache=MediaCacheConfig(private_ip=address))


def test_a_network_of_other_addresses_is_taken():
    config = EnvironmentConfig(
        name="dev",
        network=NetworkConfig(**SMALL),  # pyright: ignore[reportArgumentType]
        media_cache=MediaCacheConfig(private_ip="192.168.8.36", san_dns="media.example"),
    )
    assert config.network.isolated[0] == "192.168.8.32/28"


def test_the_image_is_never_chosen_by_itself():
    with pytest.raises(ConfigurationError, match=r"media_cache.image is not set.*media_cache_image=ami-"):
        environment_config("prod").media_cache.checked_image()
    assert MediaCacheConfig(image="ami-0123456789abcdef0").checked_image() == "ami-0123456789abcdef0"
