"""Alarms: each has a name, one sentence, and an entry in docs/runbook.md."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

MINUTE = Duration.minutes(1)
RUNBOOK = "docs/runbook.md"
_METRICS_PER_ALARM = 10
"""CloudWatch's most in one expression."""


@dataclass(frozen=True, slots=True)
class AlarmSpec:
    """When an alarm goes off.

    Attributes:
        name: of its entry in the runbook; the environment's name stands before it.
        meaning: one sentence.
        metric: what is compared, one value a period.
        over: it goes off above this, or with `below` under it.
        of: (m, n): when m of the last n periods were beyond the bound.
        below: whether the bound is the least.
        silence: whether no value at all is trouble, too.
    """

    name: str
    meaning: str
    metric: cloudwatch.IMetric
    over: float
    of: tuple[int, int] = (1, 1)
    below: bool = False
    silence: bool = False


class Alarms(Construct):
    """The topic that all go to, and every alarm by its name."""

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: str, notify: Sequence[str]
    ) -> None:
        super().__init__(scope, construct_id)
        self._environment = environment
        self.topic = sns.Topic(
            self,
            "Topic",
            topic_name=topic_name(environment),
            display_name=f"livedub {environment}",
            enforce_ssl=True,
        )
        self.topic.apply_removal_policy(RemovalPolicy.DESTROY)
        for address in notify:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
        self._let_alarms_publish()
        self.all: dict[str, cloudwatch.Alarm] = {}

    def add(self, spec: AlarmSpec) -> None:
        """Watch it."""
        self.all[spec.name] = make_alarm(self, spec, self._environment, self.topic)

    def add_functions(self, part: str, functions: Sequence[lambda_.Function], *, of: tuple[int, int]) -> None:
        """Watch all functions of one part together: which one it is, the dashboard and its log say.

        `of`: in how many of how many minutes; (1, 1) for those that nobody calls again soon.
        """
        for metric_name, name, meaning in (
            ("Errors", "functions-failing", "A function raised, or ran out of time or memory."),
            ("Throttles", "functions-throttled", "A function was refused: too many at once."),
        ):
            for number, some in enumerate(_split(functions, _METRICS_PER_ALARM)):
                self.add(
                    AlarmSpec(
                        f"{part}-{name}{f'-{number + 1}' if number else ''}",
                        meaning,
                        _summed([function.metric(metric_name) for function in some]),
                        over=0,
                        of=of,
                    )
                )

    def _let_alarms_publish(self) -> None:
        """A topic with a policy of its own has no longer the one that lets the account's alarms in."""
        stack = Stack.of(self)
        alarms = stack.format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=alarm_name(self._environment, "*"),
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={
                    "ArnLike": {"aws:SourceArn": alarms},
                    "StringEquals": {"aws:SourceAccount": stack.account},
                },
            )
        )


def make_alarm(scope: Construct, spec: AlarmSpec, environment: str, topic: sns.ITopic) -> cloudwatch.Alarm:
    """An alarm that tells `topic` when it goes off and when it is over."""
    over, under = (
        cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
    )
    breaching, fine = (
        cloudwatch.TreatMissingData.BREACHING,
        cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    alarm = cloudwatch.Alarm(
        scope,
        _construct_id(spec.name),
        alarm_name=alarm_name(environment, spec.name),
        alarm_description=f"{spec.meaning} {RUNBOOK}#{spec.name}",
        metric=spec.metric,
        threshold=spec.over,
        comparison_operator=under if spec.below else over,
        datapoints_to_alarm=spec.of[0],
        evaluation_periods=spec.of[1],
        treat_missing_data=breaching if spec.silence else fine,
    )
    tell = actions.SnsAction(topic)
    alarm.add_alarm_action(tell)
    alarm.add_ok_action(tell)
    return alarm


def topic_by_name(scope: Construct, environment: str) -> sns.ITopic:
    """The topic, for an alarm in a stack that is there before it."""
    arn = Stack.of(scope).format_arn(
        service="sns", resource=topic_name(environment), arn_format=ArnFormat.NO_RESOURCE_NAME
    )
    return sns.Topic.from_topic_arn(scope, "Topic", arn)


def alarm_name(environment: str, name: str) -> str:
    """Its name in CloudWatch."""
    return f"livedub-{environment}-{name}"


def topic_name(environment: str) -> str:
    """Of the topic that all alarms of an environment go to."""
    return f"livedub-{environment}-alarms"


def summed(
    metrics: Mapping[str, cloudwatch.IMetric], label: str, period: Duration = MINUTE
) -> cloudwatch.MathExpression:
    """All of `metrics`, by a name of their own each, together; none counts as 0."""
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({name}, 0)" for name in metrics),
        using_metrics=dict(metrics),
        label=label,
        period=period,
    )


def _summed(metrics: Sequence[cloudwatch.Metric]) -> cloudwatch.MathExpression:
    by_name = {
        f"m{index}": metric.with_(statistic="Sum", period=MINUTE) for index, metric in enumerate(metrics)
    }
    return summed(by_name, metrics[0].metric_name)


def _split(functions: Sequence[lambda_.Function], size: int) -> list[Sequence[lambda_.Function]]:
    return [functions[start : start + size] for start in range(0, len(functions), size)]


def _construct_id(name: str) -> str:
    return "".join(word.title() for word in name.split("-"))
