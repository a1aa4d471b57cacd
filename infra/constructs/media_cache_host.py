"""The machine of the media cache: an address that stays, and volumes that outlive it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Acknowledgment, CfnTag, Fn, RemovalPolicy, Size, Stack, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge

_AGENT_ACTIONS = (
    "ssm:DescribeAssociation",
    "ssm:DescribeDocument",
    "ssm:GetDocument",
    "ssm:ListAssociations",
    "ssm:ListInstanceAssociations",
    "ssm:PutComplianceItems",
    "ssm:UpdateAssociationStatus",
    "ssm:UpdateInstanceAssociationStatus",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "logs:DescribeLogGroups",
)
"""What the SSM agent calls for the machine it is on. Not Amazon's own policy for it: that one reads every parameter."""


@dataclass(frozen=True, slots=True)
class HostPlace:
    """Where the machine is."""

    subnet: ec2.ISubnet
    group: ec2.ISecurityGroup


class MediaCacheHost(Construct):
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
        first_boot: Path,
        present: bool = True,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        survive = config.stateful_resources_survive
        self.commands = logs.LogGroup(
            self, "Commands", retention=config.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = self._role()
        self.data = self._volume("Data", place, config.media_cache.volume_gb, survive=survive)
        self.tls = self._volume("Tls", place, 1, survive=survive)
        self.instance = self._machine(place, first_boot) if present else None

    def _role(self) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Of the media-cache host alone.",
        )
        role.add_to_policy(iam.PolicyStatement(actions=list(_AGENT_ACTIONS), resources=["*"]))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                resources=[self.commands.log_group_arn],
            )
        )
        acknowledge(role, "IAM5[Resource::*]", "What the SSM agent calls names no resource.")
        acknowledge(
            role,
            f"IAM5[Resource::<{Stack.of(self).get_logical_id(self.commands.node.default_child)}.Arn>]",
            "CloudFormation's ARN of a log group ends in :*, its streams.",
        )
        return role

    def _volume(self, construct_id: str, place: HostPlace, size_gb: int, *, survive: bool) -> ec2.Volume:
        return ec2.Volume(
            self,
            construct_id,
            availability_zone=place.subnet.availability_zone,
            size=Size.gibibytes(size_gb),
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            encrypted=True,
            removal_policy=RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY,
        )

    def _machine(self, place: HostPlace, first_boot: Path) -> ec2.CfnInstance:
        cache = self._config.media_cache
        profile = iam.CfnInstanceProfile(self, "Profile", roles=[self.role.role_name])
        machine = ec2.CfnInstance(
            self,
            "Instance",
            image_id=cache.checked_image(),
            instance_type=cache.instance_type,
            iam_instance_profile=profile.ref,
            subnet_id=place.subnet.subnet_id,
            private_ip_address=cache.private_ip,
            security_group_ids=[place.group.security_group_id],
            monitoring=True,
            metadata_options=ec2.CfnInstance.MetadataOptionsProperty(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            block_device_mappings=[
                ec2.CfnInstance.BlockDeviceMappingProperty(
                    device_name="/dev/xvda",
                    ebs=ec2.CfnInstance.EbsProperty(encrypted=True, volume_type="gp3", volume_size=10),
                )
            ],
            user_data=Fn.base64(
                "#!/usr/bin/env bash\n"
                f"export DATA_VOLUME={self.data.volume_id} TLS_VOLUME={self.tls.volume_id}\n"
                + first_boot.read_text()
            ),
            tags=[CfnTag(key="Name", value=f"livedub-{self._config.name}-media-cache")],
        )
        acknowledge(
            machine, "EC29", "It is replaced by a deployment; what it holds is on volumes that outlive it."
        )
        Validations.of(machine).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::W9010",
                reason="An image that changes by itself would replace the machine at some deployment or other.",
            )
        )
        for device, volume in (("/dev/sdf", self.data), ("/dev/sdg", self.tls)):
            ec2.CfnVolumeAttachment(
                self,
                f"{volume.node.id}Attachment",
                instance_id=machine.ref,
                volume_id=volume.volume_id,
                device=device,
            )
        return machine
