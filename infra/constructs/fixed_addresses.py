"""Addresses that hosts are given on purpose, kept from everything that AWS gives an address to by itself."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import CfnTag
from aws_cdk import aws_ec2 as ec2
from constructs import Construct


class FixedAddresses(Construct):
    """One reservation of one address per host, by the host's name.

    Of type `explicit`: AWS gives the address to nobody, and whoever asks for it by name gets it. That an address is in use
    already is no reason to refuse its reservation, and changes nothing for who has it
    (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html).
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, addresses: Mapping[str, tuple[ec2.ISubnet, str]]
    ) -> None:
        super().__init__(scope, construct_id)
        for host, (subnet, address) in addresses.items():
            # No description, and a name that stays: with another of either CloudFormation would first make a second
            # reservation of the same address, which is refused.
            ec2.CfnSubnetCidrReservation(
                self,
                host,
                subnet_id=subnet.subnet_id,
                cidr=f"{address}/32",
                reservation_type="explicit",
                tags=[CfnTag(key="Name", value=host)],
            )

    def come_before(self, *constructs: Construct) -> None:
        """Make every reservation before what is in `constructs`, and gets addresses wherever AWS likes."""
        for construct in constructs:
            construct.node.add_dependency(self)
