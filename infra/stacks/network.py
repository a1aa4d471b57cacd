"""The network of one environment: who is where, and who may speak to whom."""

from __future__ import annotations

from aws_cdk import CfnOutput, DefaultStackSynthesizer, Fn
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.fixed_addresses import FixedAddresses
from infra.constructs.isolated_endpoints import IsolatedEndpoints
from infra.constructs.network_doors import NetworkDoors
from infra.constructs.planned_vpc import PlannedVpc
from infra.environment_stack import EnvironmentStack


class NetworkStack(EnvironmentStack):
    """VPC, the hosts' fixed addresses in it, security groups, endpoints."""

    def __init__(self, scope: Construct, *, config: EnvironmentConfig) -> None:
        super().__init__(scope, "network", config=config, holds="network")
        network = PlannedVpc(self, "Network", config=config.network, log_retention=config.log_retention)
        self.vpc: ec2.Vpc = network.vpc
        self.isolated = network.isolated
        self.doors = NetworkDoors(
            self, "Doors", vpc=self.vpc, config=config.network, cache_port=config.media_cache.port
        )
        endpoints = IsolatedEndpoints(
            self,
            "Endpoints",
            vpc=self.vpc,
            subnets=self.isolated,
            group=self.doors.endpoints,
            asset_bucket=f"cdk-{DefaultStackSynthesizer.DEFAULT_QUALIFIER}-assets-{self.account}-{self.region}",
        )
        self._fixed_addresses(config).come_before(endpoints, *_nat_gateways(self.vpc))
        for name, value, meaning in (
            ("VpcId", self.vpc.vpc_id, "The network."),
            ("MediaGroup", self.doors.media.security_group_id, "Security group of media servers."),
            ("WorkerGroup", self.doors.workers.security_group_id, "Security group of worker hosts."),
        ):
            CfnOutput(self, name, value=value, description=meaning)

    def _fixed_addresses(self, config: EnvironmentConfig) -> FixedAddresses:
        """Of every host that has one. Interfaces of all other stacks come after this one."""
        addresses: dict[str, tuple[ec2.ISubnet, str]] = {
            "MediaCacheHost": (self.isolated[0], config.media_cache.private_ip),
            "MediaHost": (self.vpc.public_subnets[0], config.media.address_in(config.network)),
        }
        if config.sts.source == "gpu_host":
            addresses["GpuHost"] = (self.vpc.private_subnets[0], config.gpu_host.private_ip)
        return FixedAddresses(self, "FixedAddresses", addresses=addresses)

    @property
    def availability_zones(self) -> list[str]:
        """The first two of whichever region it is: asking which there are would be a look-up."""
        return [Fn.select(index, Fn.get_azs()) for index in (0, 1)]


def _nat_gateways(vpc: ec2.Vpc) -> list[Construct]:
    return [each for each in vpc.node.find_all() if isinstance(each, ec2.CfnNatGateway)]
