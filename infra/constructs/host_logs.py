"""Where a kind of host keeps its journal: a log group of its own, which outlives each of its machines."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge
from infra.constructs.own_metrics import namespace


class HostLogs(Construct):
    """The group `/livedub/<environment>/<service>`: a stream for each machine, which livedub-logs.service writes.

    The name is fixed, so that whoever looks for it need not ask the stack.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: EnvironmentConfig, service: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.service = service
        self._environment = config.name
        self.group = logs.LogGroup(
            self,
            "Group",
            log_group_name=group_name(config.name, service),
            retention=config.log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )

    def settings(self, *volumes: str) -> dict[str, str]:
        """What an installation writes to /etc/livedub/logs.env; `volumes`: where those are mounted that may fill."""
        return {
            "LOG_GROUP": self.group.log_group_name,
            "LOG_SERVICE": self.service,
            "LOG_VOLUMES": " ".join(("/", *volumes)),
            "METRICS_NAMESPACE": namespace(self._environment),
        }

    def grant_write(self, role: iam.Role) -> None:
        """Let machines write into the group's streams, and do nothing else with them. Metrics come of what is written."""
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[self.group.log_group_arn]
            )
        )
        acknowledge(
            role,
            f"IAM5[Resource::<{Stack.of(self).get_logical_id(self.group.node.default_child)}.Arn>]",
            "CloudFormation's ARN of a log group ends in :*, its streams.",
        )


def group_name(environment: str, service: str) -> str:
    """Of the log group of a kind of host."""
    return f"/livedub/{environment}/{service}"
