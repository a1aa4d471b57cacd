"""The machine of the media cache: an address that stays, and volumes that outlive it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.managed_host import HostPlace, MachineSpec, ManagedHost
from infra.constructs.volume_snapshots import VolumeSnapshots


class MediaCacheHost(ManagedHost):
    """Role, volumes, log group of commands, and, unless `present` is False, the machine.

    A machine is replaced in two deployments, for no two can have one address and one volume at once: without it, then with
    it again. What it held is on the volumes.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        place: HostPlace,
        interface: ec2.CfnNetworkInterface,
        first_boot: Sequence[Path],
        present: bool = True,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            config=config,
            service="media-cache-host",
            description="Of the media-cache host alone.",
        )
        survive = config.stateful_resources_survive
        cache = config.media_cache
        self.data = self.volume("Data", place, cache.volume_gb, survive=survive, made_from=cache.volume_from)
        # No snapshots: its authority is made again and told to consumers, and each copy of its key is one to guard.
        self.tls = self.volume("Tls", place, 1, survive=survive, made_from=cache.tls_from)
        self.snapshots = (
            VolumeSnapshots(
                self,
                "Snapshots",
                environment=config.name,
                name="media-data",
                volume=self.data,
                keep=cache.volume_snapshots,
            )
            if cache.volume_snapshots
            else None
        )
        self.instance = self._machine(config, interface, first_boot) if present else None

    def _machine(
        self, config: EnvironmentConfig, interface: ec2.CfnNetworkInterface, first_boot: Sequence[Path]
    ) -> ec2.CfnInstance:
        spec = MachineSpec(
            name="media-cache",
            image=config.media_cache.checked_image(),
            instance_type=config.media_cache.instance_type,
            root_gb=10,
            root_device="/dev/xvda",
            user_data="#!/usr/bin/env bash\n"
            f"export DATA_VOLUME={self.data.volume_id} TLS_VOLUME={self.tls.volume_id}\n"
            + "".join(path.read_text() for path in first_boot),
        )
        machine = self.machine(
            spec,
            network=ec2.CfnInstance.NetworkInterfaceProperty(
                device_index="0", network_interface_id=interface.ref
            ),
        )
        self.attach(machine, {"/dev/sdf": self.data, "/dev/sdg": self.tls})
        return machine
