"""Daily snapshots of one volume, and how many of them are kept."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import CfnTag, Stack, Tags
from aws_cdk import aws_dlm as dlm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

TAG = "livedub:snapshots"
"""On the volume, by which the policy finds it, and on every snapshot of it."""

_AT_UTC = "03:00"
_DESCRIBE = ("ec2:DescribeInstances", "ec2:DescribeSnapshots", "ec2:DescribeVolumes")


class VolumeSnapshots(Construct):
    """A policy of Data Lifecycle Manager, which makes the snapshots and removes the oldest, and its role.

    The role goes by the tag, not by the volume's id: a volume that was replaced keeps its tag, and one volume that it
    must not touch would put the whole policy into its error state.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: str,
        name: str,
        volume: ec2.Volume,
        keep: int,
    ) -> None:
        """Make them.

        Args:
            scope: the host.
            construct_id: of this.
            environment: its name.
            name: what is on the volume, one word of the environment's own.
            volume: gets the tag.
            keep: how many snapshots, one a day.
        """
        super().__init__(scope, construct_id)
        tagged = f"{environment}-{name}"
        Tags.of(volume).add(TAG, tagged)
        policy = dlm.CfnLifecyclePolicy
        self.policy = policy(
            self,
            "Policy",
            description=f"livedub {environment} - {name} every day",
            state="ENABLED",
            execution_role_arn=self._role(tagged).role_arn,
            policy_details=policy.PolicyDetailsProperty(
                resource_types=["VOLUME"],
                target_tags=[CfnTag(key=TAG, value=tagged)],
                schedules=[
                    policy.ScheduleProperty(
                        name="daily",
                        create_rule=policy.CreateRuleProperty(
                            interval=24, interval_unit="HOURS", times=[_AT_UTC]
                        ),
                        retain_rule=policy.RetainRuleProperty(count=keep),
                        # Those of the volume: by TAG the snapshots are found, and may be removed.
                        copy_tags=True,
                    )
                ],
            ),
        )

    def _role(self, tagged: str) -> iam.Role:
        stack = Stack.of(self)
        volumes = f"arn:{stack.partition}:ec2:{stack.region}:{stack.account}:volume/*"
        # Snapshots are of no account.
        snapshots = f"arn:{stack.partition}:ec2:{stack.region}::snapshot/*"
        ours = {"StringEquals": {f"aws:ResourceTag/{TAG}": tagged}}
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "dlm.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
            ),
            description="Makes snapshots of one volume, and removes those.",
        )
        for actions, resource, conditions in (
            (["ec2:CreateSnapshot"], volumes, ours),
            # What is to come has no tag yet; without the right above nothing comes.
            (["ec2:CreateSnapshot", "ec2:CreateTags"], snapshots, None),
            (["ec2:DeleteSnapshot"], snapshots, ours),
            (list(_DESCRIBE), "*", None),
        ):
            role.add_to_policy(
                iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions)
            )
        for resource, reason in (
            (volumes, f"Those with the tag {TAG} alone: the policy takes a volume by its tag, too."),
            (snapshots, f"They have no names before they are there; removed are those with {TAG} alone."),
            ("*", "Lists of volumes, instances and snapshots name no resource."),
        ):
            acknowledge(role, f"IAM5[Resource::{_shown(stack, resource)}]", reason)
        return role


def _shown(stack: Stack, arn: str) -> str:
    """An ARN as cdk-nag writes it, references in angle brackets."""
    resolved = stack.resolve(arn)
    if isinstance(resolved, str):
        return resolved
    return "".join(each if isinstance(each, str) else f"<{each['Ref']}>" for each in resolved["Fn::Join"][1])
