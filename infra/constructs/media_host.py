"""The machine that publishers reach: an address of the internet's and one inside, both of which stay, and a volume."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.managed_host import HostPlace, MachineSpec, ManagedHost
from infra.constructs.volume_snapshots import VolumeSnapshots


class MediaHost(ManagedHost):
    """Role, addresses, recordings volume with its snapshots, log group of commands, and, unless the configuration says no, the machine.

    The addresses belong to an interface of its own: they are there before the machine is, which has a way to the internet from
    its first second, and after it. A machine is replaced in two deployments, without it and with it again.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        place: HostPlace,
        first_boot: Sequence[Path],
        ssm_agent_url: str,
    ) -> None:
        super().__init__(
            scope, construct_id, config=config, service="media-host", description="Of the media host alone."
        )
        survive = config.stateful_resources_survive
        media = config.media
        self.recordings = self.volume(
            "Recordings", place, media.recordings_gb, survive=survive, made_from=media.recordings_from
        )
        self.snapshots = (
            VolumeSnapshots(
                self,
                "Snapshots",
                environment=config.name,
                name="recordings",
                volume=self.recordings,
                keep=media.recordings_snapshots,
            )
            if media.recordings_snapshots
            else None
        )
        self._interface = ec2.CfnNetworkInterface(
            self,
            "Interface",
            description=f"livedub {config.name}: media host",
            subnet_id=place.subnet.subnet_id,
            private_ip_address=config.media.address_in(config.network),
            group_set=[place.group.security_group_id],
        )
        self.address = ec2.CfnEIP(self, "Address", domain="vpc")
        # Publishers have it in their settings, once there is a deployment that did not fail.
        self.address.apply_removal_policy(
            RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if survive else RemovalPolicy.DESTROY
        )
        self._associated = ec2.CfnEIPAssociation(
            self,
            "Associated",
            allocation_id=self.address.attr_allocation_id,
            network_interface_id=self._interface.ref,
        )
        self.instance = self._machine(config, first_boot, ssm_agent_url) if config.media.host else None

    def _machine(
        self, config: EnvironmentConfig, first_boot: Sequence[Path], ssm_agent_url: str
    ) -> ec2.CfnInstance:
        spec = MachineSpec(
            name="media",
            image=config.media.checked_image(),
            instance_type=config.media.instance_type,
            root_gb=10,
            root_device="/dev/xvda",
            user_data="#!/usr/bin/env bash\n"
            f"export AWS_REGION={self._region} SSM_AGENT_URL={ssm_agent_url} "
            f"RECORDINGS_VOLUME={self.recordings.volume_id}\n"
            + "".join(path.read_text() for path in first_boot),
        )
        interface = ec2.CfnInstance.NetworkInterfaceProperty(
            device_index="0", network_interface_id=self._interface.ref
        )
        machine = self.machine(spec, network=interface)
        machine.add_resource_dependency(self._associated)
        self.attach(machine, {"/dev/sdf": self.recordings})
        return machine
