"""A VPC whose every subnet has the addresses that the configuration gives it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

import jsii
from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.network_config import NetworkConfig

PUBLIC, PRIVATE, ISOLATED = "public", "private", "isolated"


@jsii.implements(ec2.IIpAddresses)
class _Planned:
    """What the configuration says; CDK would deal subnets out by itself, and a static address needs to know its own."""

    def __init__(self, config: NetworkConfig) -> None:
        self._cidr = config.cidr
        self._subnets = {
            PUBLIC: list(config.public),
            PRIVATE: list(config.private),
            ISOLATED: list(config.isolated),
        }

    def allocate_vpc_cidr(self) -> ec2.VpcIpamOptions:
        """The whole."""
        return ec2.VpcIpamOptions(cidr_block=self._cidr)

    def allocate_subnets_cidr(self, request: ec2.AllocateCidrRequest) -> ec2.SubnetIpamOptions:
        """Its parts, one request per subnet, those of a group in the order of availability zones."""
        left = {name: iter(cidrs) for name, cidrs in self._subnets.items()}
        return ec2.SubnetIpamOptions(
            allocated_subnets=[
                ec2.AllocatedSubnet(cidr=next(left[each.configuration.name]))
                for each in request.requested_subnets
            ]
        )


class PlannedVpc(Construct):
    """Public, private and isolated subnets in two availability zones, and a log of what was refused."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: NetworkConfig,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        kinds = ec2.SubnetType
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=_Planned(config),
            nat_gateways=config.nat_gateways,
            subnet_configuration=[
                # An address of the internet's is an Elastic IP that somebody gave on purpose.
                ec2.SubnetConfiguration(name=PUBLIC, subnet_type=kinds.PUBLIC, map_public_ip_on_launch=False),
                ec2.SubnetConfiguration(name=PRIVATE, subnet_type=kinds.PRIVATE_WITH_EGRESS),
                ec2.SubnetConfiguration(name=ISOLATED, subnet_type=kinds.PRIVATE_ISOLATED),
            ],
        )
        # Free, where files by way of NAT cost by the gigabyte. Who may read what the roles say. The isolated subnets have one
        # of their own, which leads to less.
        self.vpc.add_gateway_endpoint(
            "S3",
            service=ec2.GatewayVpcEndpointAwsService.S3,
            subnets=[ec2.SubnetSelection(subnet_type=kinds.PRIVATE_WITH_EGRESS)],
        )
        refused = logs.LogGroup(
            self, "Refused", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.vpc.add_flow_log(
            "RefusedTraffic",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(refused),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )

    @property
    def isolated(self) -> list[ec2.ISubnet]:
        """The isolated subnets, in the order of the configuration."""
        return list(self.vpc.isolated_subnets)
