"""The addresses that hosts are given on purpose are theirs before anything else in their subnets gets one."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from livedub.errors import ConfigurationError
from tests.infra.conftest import Part, Synthesized, given

if TYPE_CHECKING:
    from infra.config import EnvironmentConfig

GIVEN_BY_AWS = ("AWS::EC2::NatGateway", "AWS::EC2::VPCEndpoint")
"""What the stack `network` holds that gets addresses; what other stacks hold waits for all of it."""


def network_of(config: "EnvironmentConfig", folder: Path) -> Part:
    """The stack alone: another host changes nothing else."""
    from aws_cdk import App  # noqa: PLC0415 - starts node

    from infra.stacks.network import NetworkStack  # noqa: PLC0415

    app = App(outdir=str(folder), analytics_reporting=False)
    stack = NetworkStack(app, config=config)
    app.synth()
    return Part(stack.stack_name, folder)


def reserved(network: Part) -> dict[str, str]:
    """By the address: the subnet it is reserved in."""
    found: dict[str, str] = {}
    for each in network.of_type("AWS::EC2::SubnetCidrReservation").values():
        properties = each["Properties"]
        assert properties["ReservationType"] == "explicit", "the other type is given out by AWS"
        subnet = network.resources[properties["SubnetId"]["Ref"]]
        found[properties["Cidr"]] = subnet["Properties"]["CidrBlock"]
    return found


def given_addresses(environment: Synthesized) -> set[str]:
    """Every address that a template asks for by name."""
    return {
        f"{resource['Properties']['PrivateIpAddress']}/32"
        for part in environment.parts.values()
        for kind in ("AWS::EC2::Instance", "AWS::EC2::NetworkInterface")
        for resource in part.of_type(kind).values()
        if "PrivateIpAddress" in resource["Properties"]
    }


def test_every_address_that_a_host_is_given_is_reserved_in_its_subnet(prod: Synthesized, local: Synthesized):
    assert reserved(prod.part("network")) == {
        "10.0.1.30/32": "10.0.1.0/24",
        "10.0.100.30/32": "10.0.100.0/24",
    }
    for environment in (prod, local):
        assert set(reserved(environment.part("network"))) == given_addresses(environment)


def test_the_gpu_host_has_its_own_where_there_is_one(tmp_path: Path):
    found = reserved(network_of(given("dev", sts_source="gpu_host"), tmp_path))
    assert found["10.0.16.30/32"] == "10.0.16.0/20"
    assert len(found) == 3


def test_another_address_is_reserved_instead(tmp_path: Path):
    config = given("dev")
    config = replace(
        config,
        media=replace(config.media, private_ip="10.0.100.77"),
        media_cache=replace(config.media_cache, private_ip="10.0.1.77"),
    )
    assert set(reserved(network_of(config, tmp_path))) == {"10.0.1.77/32", "10.0.100.77/32"}


def test_what_gets_any_address_comes_after_the_reservations(prod: Synthesized):
    network = prod.part("network")
    reservations = set(network.of_type("AWS::EC2::SubnetCidrReservation"))
    later = [
        each
        for kind in GIVEN_BY_AWS
        for each in network.of_type(kind).values()
        # A gateway is a route, and has none.
        if each["Properties"].get("VpcEndpointType") != "Gateway"
    ]
    assert len(later) == 2 + 5
    for each in later:
        assert reservations <= set(each["DependsOn"]), each


def test_every_other_stack_with_a_machine_or_a_function_in_the_network_waits_for_it(prod: Synthesized):
    artifacts: dict[str, Any] = prod.manifest["artifacts"]
    for name, part in prod.parts.items():
        inside = [
            resource
            for resource in part.resources.values()
            if {"SubnetId", "SubnetIds", "VpcConfig", "VPCZoneIdentifier"}
            & set(resource.get("Properties", {}))
        ]
        if name != "network" and inside:
            assert prod.part("network").name in artifacts[part.name]["dependencies"], name


def test_two_reservations_of_one_address_are_never_wanted_at_once(prod: Synthesized):
    # CloudFormation replaces a reservation whose description is another one: it makes the new one first, and fails.
    for each in prod.part("network").of_type("AWS::EC2::SubnetCidrReservation").values():
        assert "Description" not in each["Properties"]


def test_an_address_outside_of_its_subnet_is_refused_before_anything_is_made():
    config = given("dev")
    with pytest.raises(ConfigurationError, match=r"media_cache\.private_ip"):
        replace(config, media_cache=replace(config.media_cache, private_ip="10.0.2.30"))
