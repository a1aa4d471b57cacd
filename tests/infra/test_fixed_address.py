"""The media cache's address is its own before anything else in its subnet gets one, and while there is no host."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from livedub.errors import ConfigurationError
from tests.infra.conftest import Part, Synthesized, given

if TYPE_CHECKING:
    from infra.config import EnvironmentConfig


def network_of(config: "EnvironmentConfig", folder: Path) -> Part:
    """The stack alone: another address changes nothing else that is looked at."""
    from aws_cdk import App  # noqa: PLC0415 - starts node

    from infra.stacks.network import NetworkStack  # noqa: PLC0415

    app = App(outdir=str(folder), analytics_reporting=False)
    stack = NetworkStack(app, config=config)
    app.synth()
    return Part(stack.stack_name, folder)


def kept(network: Part) -> tuple[str, dict[str, Any]]:
    [(interface_id, interface)] = network.of_type("AWS::EC2::NetworkInterface").items()
    return interface_id, interface["Properties"]


def test_it_is_an_interface_of_the_first_isolated_subnet_behind_the_caches_door(prod: Synthesized):
    network = prod.part("network")
    _, interface = kept(network)
    assert interface["PrivateIpAddress"] == "10.0.1.30"
    assert network.resources[interface["SubnetId"]["Ref"]]["Properties"]["CidrBlock"] == "10.0.1.0/24"
    door, _ = network.named("Doors/Cache")
    assert interface["GroupSet"] == [{"Fn::GetAtt": [door, "GroupId"]}]


def test_another_address_is_kept_instead(tmp_path: Path):
    config = given("dev")
    config = replace(config, media_cache=replace(config.media_cache, private_ip="10.0.1.77"))
    assert kept(network_of(config, tmp_path))[1]["PrivateIpAddress"] == "10.0.1.77"


def test_what_else_gets_an_address_in_its_subnet_comes_after_it(prod: Synthesized):
    network = prod.part("network")
    interface_id, interface = kept(network)
    beside = [
        each
        for each in network.of_type("AWS::EC2::VPCEndpoint").values()
        if interface["SubnetId"] in each["Properties"].get("SubnetIds", ())
    ]
    assert len(beside) == 5
    for each in beside:
        assert interface_id in each["DependsOn"], each


def test_every_other_stack_with_a_machine_or_a_function_in_the_network_waits_for_it(prod: Synthesized):
    artifacts: dict[str, Any] = prod.manifest["artifacts"]
    for name, part in prod.parts.items():
        inside = [
            resource
            for resource in part.resources.values()
            if {"SubnetId", "SubnetIds", "VpcConfig", "VPCZoneIdentifier", "NetworkInterfaces"}
            & set(resource.get("Properties", {}))
        ]
        if name != "network" and inside:
            assert prod.part("network").name in artifacts[part.name]["dependencies"], name


def test_an_address_outside_of_its_subnet_is_refused_before_anything_is_made():
    config = given("dev")
    with pytest.raises(ConfigurationError, match=r"media_cache\.private_ip"):
        replace(config, media_cache=replace(config.media_cache, private_ip="10.0.2.30"))
