"""The few AWS services that what has no way out still needs, reached inside the VPC."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

SERVICES: Mapping[str, ec2.InterfaceVpcEndpointAwsService] = MappingProxyType(
    {
        # Installation, commands and parameters; the three that the SSM agent needs.
        "Ssm": ec2.InterfaceVpcEndpointAwsService.SSM,
        "SsmMessages": ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES,
        "Ec2Messages": ec2.InterfaceVpcEndpointAwsService.EC2_MESSAGES,
        "SecretsManager": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
        "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    }
)


class IsolatedEndpoints(Construct):
    """S3 by a gateway that leads to two buckets alone, the rest by interfaces in one availability zone.

    One zone: the host is in it, and each further one would cost as much again.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.Vpc,
        subnets: list[ec2.ISubnet],
        group: ec2.ISecurityGroup,
        asset_bucket: str,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        gateway = ec2.GatewayVpcEndpoint(
            self,
            "S3",
            vpc=vpc,
            service=ec2.GatewayVpcEndpointAwsService.S3,
            subnets=[ec2.SubnetSelection(subnets=subnets)],
        )
        gateway.add_to_policy(
            iam.PolicyStatement(
                principals=[iam.AnyPrincipal()],
                actions=["s3:GetObject"],
                resources=[
                    f"arn:{stack.partition}:s3:::{asset_bucket}/*",
                    # The system's own packages. Amazon gives this bucket one name in every region.
                    f"arn:{stack.partition}:s3:::al2023-repos-{stack.region}-de612dc2/*",
                ],
            )
        )
        for construct_id_, service in SERVICES.items():
            ec2.InterfaceVpcEndpoint(
                self,
                construct_id_,
                vpc=vpc,
                service=service,
                subnets=ec2.SubnetSelection(subnets=subnets[:1]),
                security_groups=[group],
                # Else each would let in all of the VPC.
                open=False,
            )
