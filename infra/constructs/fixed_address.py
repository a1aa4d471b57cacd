"""An address that a host is given on purpose, kept from everything that AWS gives an address to by itself."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct


class FixedAddress(Construct):
    """A network interface, which has the address before there is a machine, and while there is none.

    Not AWS::EC2::SubnetCidrReservation: CloudFormation knows it in few regions, and refuses a template that names it in the
    others.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        address: str,
        subnet: ec2.ISubnet,
        group: ec2.ISecurityGroup,
        description: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self.interface = ec2.CfnNetworkInterface(
            self,
            "Interface",
            description=description,
            subnet_id=subnet.subnet_id,
            private_ip_address=address,
            group_set=[group.security_group_id],
        )

    def come_before(self, *constructs: Construct) -> None:
        """Be made before what is in `constructs`, and gets addresses wherever AWS likes."""
        for construct in constructs:
            construct.node.add_dependency(self)
