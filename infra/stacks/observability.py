"""What an operator sees and is told: alarms, their topic, a dashboard. docs/runbook.md has an entry for each alarm."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from aws_cdk import CfnOutput, CrossStackReferences, Duration, ReferenceStrength, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.alarms import Alarms
from infra.constructs.alarms_of_host_use import (
    add_group_silence_alarm,
    add_silence_alarm,
    add_use_alarms,
)
from infra.constructs.alarms_of_hosts import InstanceAlarm, add_cache_alarms, add_group_alarm
from infra.constructs.alarms_of_services import add_api_alarm, add_database_alarms
from infra.constructs.alarms_of_streams import (
    Queue,
    add_machine_alarm,
    add_queue_alarms,
    add_stream_alarms,
)
from infra.constructs.alarms_of_volumes import SnapshotsAlarm
from infra.constructs.overview_dashboard import OverviewDashboard, Shown
from infra.constructs.own_metrics import OwnMetrics
from infra.constructs.task_token_machine import machine_arn
from infra.environment_stack import EnvironmentStack

_JOBS_WAIT = Duration.hours(1)
_CALLED_AGAIN = frozenset({"control-plane", "media-library"})
"""Parts whose callers try again at once: there one failure alone is no trouble."""


@dataclass(frozen=True, slots=True)
class Host:
    """One machine: in which stack it stands, how its alarm is called, and its id there."""

    stack: Stack
    name: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Daily snapshots: in which stack their policy stands, how their alarm's name begins, and the policy's id."""

    stack: Stack
    name: str
    policy_id: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What other stacks have that is watched.

    Attributes:
        reconcile: the function that tells how the streams are.
        streams_work: the queue of streams for worker hosts.
        jobs_work: the queue of the library's jobs.
        apis: by the beginning of their alarm's name.
        database: the Postgres.
        function_stacks: stacks with functions, by part; all that are in them are watched.
        hosts: single machines.
        snapshots: of volumes.
        groups: physical names of auto-scaling groups, by the beginning of their alarm's name.
        group_services: what hosts of these groups are called in logs and metrics, by the same beginning.
        has_media_host: whether a relay is to report all the time.
        has_rotation: whether there is a state machine rotate_tls.
    """

    reconcile: lambda_.Function
    streams_work: Queue
    jobs_work: Queue
    apis: dict[str, apigatewayv2.HttpApi]
    database: rds.DatabaseInstance
    function_stacks: dict[str, Stack]
    hosts: list[Host] = field(default_factory=list[Host])
    snapshots: list[Snapshots] = field(default_factory=list[Snapshots])
    groups: dict[str, str] = field(default_factory=dict[str, str])
    group_services: dict[str, str] = field(default_factory=dict[str, str])
    has_media_host: bool = False
    has_rotation: bool = False

    @property
    def services(self) -> list[str]:
        """What all kinds of hosts are called in logs and metrics."""
        return [*(host.name for host in self.hosts), *self.group_services.values()]


class ObservabilityStack(EnvironmentStack):
    """Looks at all the others, and none of them needs it.

    It refers to them weakly: an alarm must not keep what it watches from being replaced.
    """

    def __init__(self, scope: Construct, *, config: EnvironmentConfig, watched: Watched) -> None:
        super().__init__(scope, "observability", config=config, holds="observability")
        CrossStackReferences.of(self).consume(ReferenceStrength.WEAK)
        self.metrics = OwnMetrics(config.name)
        self.alarms = Alarms(self, "Alarms", environment=config.name, notify=config.observability.notify)
        self.machines = self._machines(watched)
        self._watch_streams(watched)
        self._watch_services(watched)
        self._watch_hosts(watched)
        for host in watched.hosts:
            InstanceAlarm(
                host.stack,
                f"{host.name.title().replace('-', '')}Alarm",
                environment=config.name,
                name=host.name,
                instance_id=host.instance_id,
            )
        for each in watched.snapshots:
            SnapshotsAlarm(
                each.stack,
                f"{each.name.title().replace('-', '')}SnapshotsAlarm",
                environment=config.name,
                name=each.name,
                policy_id=each.policy_id,
            )
        OverviewDashboard(
            self,
            "Overview",
            environment=config.name,
            metrics=self.metrics,
            shown=Shown(
                alarms=list(self.alarms.all.values()),
                queues={queue.name: queue.work for queue in (watched.streams_work, watched.jobs_work)},
                apis=watched.apis,
                machines=self.machines,
                functions=[
                    each for stack in watched.function_stacks.values() for each in functions_of(stack)
                ],
                database=watched.database,
                hosts={host.name: host.instance_id for host in watched.hosts},
                services=watched.services,
            ),
        )
        self._outputs()

    def _machines(self, watched: Watched) -> dict[str, str]:
        names = ["stream-supervisor", "media-job", *(["rotate-tls"] if watched.has_rotation else [])]
        return {name: machine_arn(self, f"livedub-{self.config.name}-{name}") for name in names}

    def _watch_streams(self, watched: Watched) -> None:
        bounds = self.config.observability
        add_stream_alarms(
            self.alarms,
            self.metrics,
            reconcile=watched.reconcile,
            waiting_s=bounds.waiting_s,
            media_host=watched.has_media_host,
        )
        add_queue_alarms(self.alarms, watched.streams_work, waiting=Duration.seconds(bounds.waiting_s))
        add_queue_alarms(self.alarms, watched.jobs_work, waiting=_JOBS_WAIT)
        for name, arn in self.machines.items():
            add_machine_alarm(self.alarms, f"{name}-failed", f"An execution of {name} failed.", arn)

    def _watch_services(self, watched: Watched) -> None:
        bounds = self.config.observability
        for part, stack in watched.function_stacks.items():
            of = (2, 3) if part in _CALLED_AGAIN else (1, 1)
            self.alarms.add_functions(part, functions_of(stack), of=of)
        for name, api in watched.apis.items():
            add_api_alarm(self.alarms, name, api)
        add_database_alarms(
            self.alarms,
            watched.database,
            least_free_gb=bounds.database_free_gb,
            most_connections=bounds.database_connections,
        )
        for name, group in watched.groups.items():
            add_group_alarm(self.alarms, name, group)
        add_cache_alarms(
            self.alarms,
            self.metrics,
            certificate_days=bounds.certificate_days,
            disk_percent=bounds.disk_percent,
        )

    def _watch_hosts(self, watched: Watched) -> None:
        bounds = self.config.observability
        for service in watched.services:
            add_use_alarms(
                self.alarms,
                self.metrics,
                service,
                disk_percent=bounds.disk_percent,
                memory_percent=bounds.memory_percent,
            )
        for host in watched.hosts:
            add_silence_alarm(self.alarms, self.metrics, host.name)
        for name, service in watched.group_services.items():
            add_group_silence_alarm(self.alarms, self.metrics, service, watched.groups[name])

    def _outputs(self) -> None:
        CfnOutput(
            self,
            "AlarmTopic",
            value=self.alarms.topic.topic_arn,
            description="Subscribe to it what is to be told of alarms.",
        )


def functions_of(stack: Stack) -> list[lambda_.Function]:
    """Every function in a stack."""
    return list(_functions(stack.node.find_all()))


def _functions(constructs: Iterable[object]) -> Iterable[lambda_.Function]:
    for construct in constructs:
        if isinstance(construct, lambda_.Function):
            yield construct
