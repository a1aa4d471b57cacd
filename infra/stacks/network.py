"""The network of one environment: who is where, and who may speak to whom."""

from __future__ import annotations

from aws_cdk import CfnOutput, DefaultStackSynthesizer, Fn
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.fixed_address import FixedAddress
from infra.constructs.isolated_endpoints import IsolatedEndpoints
from infra.constructs.network_doors import NetworkDoors
from infra.constructs.planned_vpc import PlannedVpc
from infra.environment_stack import EnvironmentStack


class NetworkStack(EnvironmentStack):
    """VPC, security groups, the media cache's address, endpoints."""

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
        self.cache_address = FixedAddress(
            self,
            "CacheAddress",
            address=config.media_cache.private_ip,
            subnet=self.isolated[0],
            group=self.doors.cache,
            description=f"livedub {config.name}: media cache",
        )
        # The only ones of this stack in its subnet; those of the others come after the whole of this one.
        self.cache_address.come_before(endpoints)
        for name, value, meaning in (
            ("VpcId", self.vpc.vpc_id, "The network."),
            ("MediaGroup", self.doors.media.security_group_id, "Security group of media servers."),
            ("WorkerGroup", self.doors.workers.security_group_id, "Security group of worker hosts."),
        ):
            CfnOutput(self, name, value=value, description=meaning)

    @property
    def availability_zones(self) -> list[str]:
        """The first two of whichever region it is: asking which there are would be a look-up."""
        return [Fn.select(index, Fn.get_azs()) for index in (0, 1)]
