"""How many worker hosts there are: by what waits, by how many slots are free, by the clock."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.workers_config import WorkersConfig

_MINUTE_S = 60
_NEARLY = 0.01
"""Averages times hosts are not always whole."""

_Query = cloudwatch.CfnAlarm.MetricDataQueryProperty
_Step = autoscaling.CfnScalingPolicy.StepAdjustmentProperty


class FleetScaling(Construct):
    """Policies, each behind its alarm, and scheduled actions.

    Out: a stream waits in the queue (one host for up to `slots` of them, and more for more), or fewer slots than
    `spare_slots` are free. In: for `idle_minutes` a whole host was idle and would not be missed; auto scaling then takes
    one that is not protected, which is one without streams.

    Hosts report averages, without dimensions; times the hosts in service they are sums that count nobody twice.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: WorkersConfig,
        group: autoscaling.CfnAutoScalingGroup,
        queue: sqs.IQueue,
        namespace: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._group = group
        self._namespace = namespace
        self._waiting(config, queue)
        if config.spare_slots:
            self._too_few_free(config)
        self._too_many_idle(config)
        for occasion in config.occasions:
            autoscaling.CfnScheduledAction(
                self,
                occasion.name,
                auto_scaling_group_name=group.ref,
                min_size=occasion.min_hosts,
                recurrence=occasion.cron,
                time_zone=occasion.time_zone,
            )

    def _waiting(self, config: WorkersConfig, queue: sqs.IQueue) -> None:
        slots = config.slots
        # Counted from the alarm's threshold of one on.
        steps = [
            _Step(metric_interval_lower_bound=0, metric_interval_upper_bound=slots, scaling_adjustment=1),
            _Step(
                metric_interval_lower_bound=slots,
                metric_interval_upper_bound=3 * slots,
                scaling_adjustment=3,
            ),
            _Step(metric_interval_lower_bound=3 * slots, scaling_adjustment=6),
        ]
        cloudwatch.CfnAlarm(
            self,
            "StreamsWait",
            alarm_description="Scales out: streams wait for a host.",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="QueueName", value=queue.queue_name)],
            statistic="Maximum",
            period=_MINUTE_S,
            evaluation_periods=1,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[self._policy("ForWaitingStreams", steps)],
        )

    def _too_few_free(self, config: WorkersConfig) -> None:
        self._math_alarm(
            "TooFewFree",
            f"IF(free * hosts < {config.spare_slots - _NEARLY}, 1, 0)",
            description=f"Scales out: fewer than {config.spare_slots} slots are free.",
            minutes=2,
            policy=self._policy(
                "ForSpareSlots", [_Step(metric_interval_lower_bound=0, scaling_adjustment=1)]
            ),
        )

    def _too_many_idle(self, config: WorkersConfig) -> None:
        free = config.spare_slots + config.slots
        self._math_alarm(
            "HostIdle",
            f"IF(idle * hosts >= {1 - _NEARLY} AND free * hosts >= {free - _NEARLY}, 1, 0)",
            description=f"Scales in: for {config.idle_minutes} minutes a host was not needed.",
            minutes=config.idle_minutes,
            policy=self._policy(
                "ForIdleHosts", [_Step(metric_interval_lower_bound=0, scaling_adjustment=-1)]
            ),
        )

    def _math_alarm(
        self, construct_id: str, expression: str, *, description: str, minutes: int, policy: str
    ) -> None:
        cloudwatch.CfnAlarm(
            self,
            construct_id,
            alarm_description=description,
            metrics=[
                _Query(id="answer", expression=expression, label=description, return_data=True),
                self._query("free", self._namespace, "SlotsFree"),
                self._query("idle", self._namespace, "HostIdle"),
                self._query("hosts", "AWS/AutoScaling", "GroupInServiceInstances", group=self._group.ref),
            ],
            evaluation_periods=minutes,
            datapoints_to_alarm=minutes,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            # No host reports: then nothing is known of slots, and what waits is seen by the queue.
            treat_missing_data="notBreaching",
            alarm_actions=[policy],
        )

    def _query(self, query_id: str, namespace: str, name: str, *, group: str | None = None) -> _Query:
        alarm = cloudwatch.CfnAlarm
        dimensions = [alarm.DimensionProperty(name="AutoScalingGroupName", value=group)] if group else None
        return _Query(
            id=query_id,
            metric_stat=alarm.MetricStatProperty(
                metric=alarm.MetricProperty(namespace=namespace, metric_name=name, dimensions=dimensions),
                period=_MINUTE_S,
                stat="Average",
            ),
            return_data=False,
        )

    def _policy(self, construct_id: str, steps: list[_Step]) -> str:
        """The ARN of a policy: what an alarm does."""
        return autoscaling.CfnScalingPolicy(
            self,
            construct_id,
            auto_scaling_group_name=self._group.ref,
            policy_type="StepScaling",
            adjustment_type="ChangeInCapacity",
            step_adjustments=steps,
        ).ref
