"""What says that a stream is not dubbed, or soon will not be."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from infra.constructs.alarms import MINUTE, Alarms, AlarmSpec, summed
from infra.constructs.own_metrics import OwnMetrics

_FIVE = Duration.minutes(5)


@dataclass(frozen=True, slots=True)
class Queue:
    """A work queue and what nobody could do.

    Attributes:
        name: what its alarms begin with.
        work: the queue.
        dead_letters: of it.
    """

    name: str
    work: sqs.IQueue
    dead_letters: sqs.IQueue


def add_stream_alarms(
    alarms: Alarms, metrics: OwnMetrics, *, reconcile: lambda_.IFunction, waiting_s: int, media_host: bool
) -> None:
    """What the gauges of reconcile say; `media_host`: whether a relay is to report all the time."""
    for spec in (
        AlarmSpec(
            "stream-waiting",
            f"A stream has waited for a free host for more than {waiting_s} s.",
            metrics.of_streams("LongestWaiting"),
            over=waiting_s,
            of=(2, 3),
        ),
        AlarmSpec(
            "stream-not-starting",
            f"A publisher is on, and its run has not begun for more than {waiting_s} s.",
            metrics.of_streams("LongestStarting"),
            over=waiting_s,
            of=(2, 3),
        ),
        AlarmSpec(
            "stream-unattended",
            "A stream's lease is over, and it was not started anew.",
            metrics.of_streams("StreamsUnattended"),
            over=0,
            of=(3, 3),
        ),
        AlarmSpec(
            "stream-degraded",
            "A stream was restarted too often and rests.",
            metrics.of_streams("StreamsDegraded"),
            over=0,
        ),
        AlarmSpec(
            "relay-silent",
            "A media server with a publisher on sends no path lists any more.",
            metrics.of_streams("RelaysSilent"),
            over=0,
            of=(3, 3),
        ),
        AlarmSpec(
            "repair-failing",
            "Reconcile found something to repair and could not.",
            metrics.of_function("reconcile_streams", "RepairFailed"),
            over=0,
            of=(3, 5),
        ),
        AlarmSpec(
            "reconcile-stopped",
            "Nothing compares what is published with what is owned any more.",
            reconcile.metric_invocations(period=_FIVE, statistic="Sum"),
            over=1,
            below=True,
            silence=True,
        ),
    ):
        alarms.add(spec)
    if media_host:
        alarms.add(
            AlarmSpec(
                "no-relay",
                "No media server sends path lists.",
                metrics.of_streams("RelaysReporting"),
                over=1,
                of=(5, 5),
                below=True,
            )
        )


def add_queue_alarms(alarms: Alarms, queue: Queue, *, waiting: Duration) -> None:
    """Work that nobody takes, and work that nobody could do."""
    alarms.add(
        AlarmSpec(
            f"{queue.name}-work-waiting",
            "Work lies in the queue and no host takes it.",
            queue.work.metric_approximate_age_of_oldest_message(period=MINUTE, statistic="Maximum"),
            over=waiting.to_seconds(),
            of=(2, 3),
        )
    )
    alarms.add(
        AlarmSpec(
            f"{queue.name}-dead-letters",
            "Hosts were given a message again and again and none could work on it.",
            queue.dead_letters.metric_approximate_number_of_messages_visible(
                period=MINUTE, statistic="Maximum"
            ),
            over=0,
        )
    )


def add_machine_alarm(alarms: Alarms, name: str, meaning: str, machine_arn: str) -> None:
    """Executions that failed or took too long. Those that somebody stopped are not trouble."""
    alarms.add(
        AlarmSpec(
            name,
            meaning,
            summed(
                {
                    metric_name[10:].lower(): cloudwatch.Metric(
                        namespace="AWS/States",
                        metric_name=metric_name,
                        dimensions_map={"StateMachineArn": machine_arn},
                        statistic="Sum",
                        period=MINUTE,
                    )
                    for metric_name in ("ExecutionsFailed", "ExecutionsTimedOut")
                },
                "Executions",
            ),
            over=0,
        )
    )
