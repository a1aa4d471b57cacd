"""What every machine of ours has: commands through Systems Manager and no key, metadata by session, encrypted disks."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Acknowledgment, CfnTag, Fn, RemovalPolicy, Size, Stack, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge
from infra.constructs.host_logs import HostLogs

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

_HTTP_TOKENS, _HOPS = "required", 1
"""Metadata by session, and not for what runs a hop behind the machine."""


@dataclass(frozen=True, slots=True)
class HostPlace:
    """Where a machine is."""

    subnet: ec2.ISubnet
    group: ec2.ISecurityGroup


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A machine, apart from where it is.

    Attributes:
        name: in the console; the environment stands before it.
        image: `ami-...` of the region.
        instance_type: such as t3.medium.
        root_gb: of the disk that goes with the machine.
        root_device: the image's own name for it.
        user_data: a script; what it exports for its first boot goes before it.
    """

    name: str
    image: str
    instance_type: str
    root_gb: int
    root_device: str
    user_data: str


class ManagedHost(Construct):
    """Role, log groups of commands and of the journal; `machine` makes one machine with them, `launch_template` any number."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        service: str,
        description: str,
    ) -> None:
        """Make them.

        Args:
            scope: the stack.
            construct_id: in it.
            config: of the environment.
            service: what machines of this kind are called in logs and metrics, such as `media-host`.
            description: of the role.
        """
        super().__init__(scope, construct_id)
        self._config = config
        self._region = Stack.of(self).region
        self.commands = logs.LogGroup(
            self, "Commands", retention=config.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = self._role(description)
        self.logs = HostLogs(self, "Logs", config=config, service=service)
        self.logs.grant_write(self.role)

    def allow(self, resources: list[str], *actions: str) -> None:
        """Let the machine do `actions` with `resources`."""
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=resources))

    def machine(
        self, spec: MachineSpec, *, network: ec2.CfnInstance.NetworkInterfaceProperty | HostPlace
    ) -> ec2.CfnInstance:
        """One machine: with an address of its own at a place, or with an interface that is there already."""
        place = network if isinstance(network, HostPlace) else None
        machine = ec2.CfnInstance(
            self,
            "Instance",
            image_id=spec.image,
            instance_type=spec.instance_type,
            iam_instance_profile=self._profile().ref,
            subnet_id=place.subnet.subnet_id if place else None,
            security_group_ids=[place.group.security_group_id] if place else None,
            network_interfaces=None if place else [network],
            monitoring=True,
            metadata_options=ec2.CfnInstance.MetadataOptionsProperty(
                http_endpoint="enabled", http_tokens=_HTTP_TOKENS, http_put_response_hop_limit=_HOPS
            ),
            block_device_mappings=[
                ec2.CfnInstance.BlockDeviceMappingProperty(
                    device_name=spec.root_device,
                    ebs=ec2.CfnInstance.EbsProperty(
                        encrypted=True, volume_type="gp3", volume_size=spec.root_gb
                    ),
                )
            ],
            user_data=Fn.base64(spec.user_data),
            tags=[CfnTag(key="Name", value=self._name(spec))],
        )
        # Its first boot reads from S3 already.
        machine.node.add_dependency(self.role)
        acknowledge(
            machine, "EC29", "It is replaced by a deployment; what it holds is on volumes that outlive it."
        )
        Validations.of(machine).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::W9010",
                reason="An image that changes by itself would replace the machine at some deployment or other.",
            )
        )
        return machine

    def launch_template(self, spec: MachineSpec, *, group: ec2.ISecurityGroup) -> ec2.CfnLaunchTemplate:
        """What a group makes its machines from; a new version comes with every change."""
        data = ec2.CfnLaunchTemplate
        return data(
            self,
            "Template",
            launch_template_data=data.LaunchTemplateDataProperty(
                image_id=spec.image,
                instance_type=spec.instance_type,
                iam_instance_profile=data.IamInstanceProfileProperty(arn=self._profile().attr_arn),
                security_group_ids=[group.security_group_id],
                monitoring=data.MonitoringProperty(enabled=True),
                metadata_options=data.MetadataOptionsProperty(
                    http_endpoint="enabled", http_tokens=_HTTP_TOKENS, http_put_response_hop_limit=_HOPS
                ),
                block_device_mappings=[
                    data.BlockDeviceMappingProperty(
                        device_name=spec.root_device,
                        ebs=data.EbsProperty(
                            encrypted=True,
                            volume_type="gp3",
                            volume_size=spec.root_gb,
                            delete_on_termination=True,
                        ),
                    )
                ],
                user_data=Fn.base64(spec.user_data),
                tag_specifications=[
                    data.TagSpecificationProperty(
                        resource_type=kind, tags=[CfnTag(key="Name", value=self._name(spec))]
                    )
                    for kind in ("instance", "volume")
                ],
            ),
        )

    def volume(
        self, construct_id: str, place: HostPlace, size_gb: int, *, survive: bool, made_from: str = ""
    ) -> ec2.Volume:
        """A disk that outlives the machine, and the stack where it is to `survive`.

        Another `made_from`, a snapshot or `empty-N`, is another resource: CloudFormation changes no volume into one of
        another snapshot, and lets go of the one before.
        """
        return ec2.Volume(
            self,
            f"{construct_id}-{made_from}" if made_from else construct_id,
            availability_zone=place.subnet.availability_zone,
            snapshot_id=made_from if made_from.startswith("snap-") else None,
            size=Size.gibibytes(size_gb),
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            encrypted=True,
            # When the deployment that makes it fails it goes, empty as it is.
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if survive else RemovalPolicy.DESTROY,
        )

    def attach(self, machine: ec2.CfnInstance, volumes: Mapping[str, ec2.Volume]) -> None:
        """Attach them, by device, when the machine runs; its first boot waits for them.

        No attachments of their own: CloudFormation would take those away before the machine, and a volume that is mounted stays
        "busy" (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ec2-volumeattachment.html). So the
        machine ends first, and unmounts.
        """
        machine.volumes = [
            ec2.CfnInstance.VolumeProperty(device=device, volume_id=volume.volume_id)
            for device, volume in volumes.items()
        ]

    def _profile(self) -> iam.CfnInstanceProfile:
        return iam.CfnInstanceProfile(self, "Profile", roles=[self.role.role_name])

    def _name(self, spec: MachineSpec) -> str:
        return f"livedub-{self._config.name}-{spec.name}"

    def _role(self, description: str) -> iam.Role:
        role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"), description=description
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
