"""The control plane: who owns which stream, and everything that sees to it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aws_cdk import CfnOutput, Duration, Token
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge
from infra.constructs.control_api import ControlApi
from infra.constructs.python_function import (
    FunctionSetup,
    FunctionSpec,
    PythonFunction,
    required_variables,
)
from infra.constructs.python_layers import PythonLayers
from infra.constructs.repair_triggers import RepairTriggers
from infra.constructs.stream_supervisor import StreamSupervisor
from infra.constructs.task_token_machine import executions_arn, machine_arn
from infra.constructs.work_queue import WorkQueue
from infra.environment_stack import EnvironmentStack
from infra.sources import Sources
from infra.stacks.state import StateStack

FUNCTIONS: Mapping[str, FunctionSpec] = MappingProxyType(
    {
        "OnPublish": FunctionSpec("Hook: a path got a publisher."),
        "OnUnpublish": FunctionSpec("Hook: a path lost its publisher."),
        "AuthorizeMedia": FunctionSpec("May this connection publish, or play, that path?"),
        "ReconcileStreams": FunctionSpec(
            "Compares path lists with leases and repairs the difference.", timeout_s=29
        ),
        "StreamApi": FunctionSpec("What operators see and ask for.", timeout_s=20),
        "AcquireLease": FunctionSpec("State machine: takes the next generation.", timeout_s=30),
        "ClassifyOutcome": FunctionSpec("State machine: restart, roll over or release.", timeout_s=30),
        "ReleaseLease": FunctionSpec("State machine: frees the lease, starts anew if wanted.", timeout_s=30),
        "ExecutionWatch": FunctionSpec("Releases what an execution that died could not.", timeout_s=30),
    }
)
"""By construct id, which is the PascalCase of the folder in functions/ and a public name."""

ROUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "OnPublish": ("POST /v1/hooks/publish",),
        "OnUnpublish": ("POST /v1/hooks/unpublish",),
        "AuthorizeMedia": ("POST /v1/media/authorize",),
        "ReconcileStreams": ("POST /v1/media/paths",),
        "StreamApi": (
            "GET /v1/streams",
            "GET /v1/streams/{stream_id}",
            "PUT /v1/streams/{stream_id}",
            "POST /v1/streams/{stream_id}/key",
            "POST /v1/streams/{stream_id}/start",
            "POST /v1/streams/{stream_id}/stop",
            "POST /v1/streams/{stream_id}/drain",
            "PATCH /v1/streams/{stream_id}/settings",
            "GET /v1/streams/{stream_id}/events",
        ),
    }
)


_MIN_RETENTION_S = 3_600


class ControlPlaneStack(EnvironmentStack):
    """Queue, state machine, functions and API of one environment; they work on what the stack `state` keeps."""

    def __init__(
        self, scope: Construct, *, config: EnvironmentConfig, state: StateStack, sources: Sources
    ) -> None:
        super().__init__(scope, "control-plane", config=config, holds="control plane")
        self.tables = state.tables
        self.secrets = state.access
        self.work = _work_queue(self, capacity_timeout_s=config.checked_policy().capacity_timeout_s)
        self.machine_name = f"livedub-{config.name}-stream-supervisor"
        self.functions = self._functions(sources)
        self.supervisor = StreamSupervisor(
            self,
            "StreamSupervisor",
            name=self.machine_name,
            functions=self.functions,
            work_queue=self.work.queue,
            streams=self.tables.streams,
            log_retention=config.log_retention,
        )
        self._grant()
        self.control_api = ControlApi(
            self,
            "ControlApi",
            api_name=f"livedub-{config.name}",
            routes=ROUTES,
            functions=self.functions,
            requests_per_s=config.requests_per_s,
            burst_requests=config.burst_requests,
            log_retention=config.log_retention,
        )
        RepairTriggers(
            self,
            "RepairTriggers",
            machine=self.supervisor.machine,
            execution_watch=self.functions["ExecutionWatch"],
            reconcile_streams=self.functions["ReconcileStreams"],
        )
        self._outputs()

    def _functions(self, sources: Sources) -> dict[str, PythonFunction]:
        layers = PythonLayers(
            self, "Layers", dependencies=sources.layer("dependencies"), shared=sources.shared_layer
        )
        setup = FunctionSetup(
            source=sources.functions,
            layers=layers.all,
            log_retention=self.config.log_retention,
            log_level=self.config.log_level,
            metrics_namespace=self.metrics_namespace,
            policy=self.config.policy_variables(),
            values={
                "LIVEDUB_STREAMS_TABLE": self.tables.streams.table_name,
                "LIVEDUB_REPLAY_TABLE": self.tables.replay.table_name,
                "LIVEDUB_REPORTS_TABLE": self.tables.reports.table_name,
                "LIVEDUB_STATE_MACHINE_ARN": machine_arn(self, self.machine_name),
                "LIVEDUB_RELAY_KEY_SECRET": self.secrets.relay_key.secret_arn,
                "LIVEDUB_API_TOKEN_SECRET": self.secrets.api_token.secret_arn,
            },
        )
        return {
            construct_id: PythonFunction(
                self,
                construct_id,
                spec=spec,
                setup=setup,
                reserved_concurrency=self.config.reserved_concurrency.get(construct_id),
            )
            for construct_id, spec in FUNCTIONS.items()
        }

    def _grant(self) -> None:
        """Let each function do what it does and no more.

        The names a function is told are the resources it may use, so that names and rights cannot differ.
        """
        rights = {
            "LIVEDUB_STREAMS_TABLE": (self.tables.streams.table_arn, ("dynamodb:GetItem",)),
            "LIVEDUB_REPLAY_TABLE": (self.tables.replay.table_arn, ("dynamodb:PutItem",)),
            "LIVEDUB_REPORTS_TABLE": (
                self.tables.reports.table_arn,
                ("dynamodb:PutItem", "dynamodb:Scan"),
            ),
            "LIVEDUB_STATE_MACHINE_ARN": (
                machine_arn(self, self.machine_name),
                ("states:StartExecution",),
            ),
            "LIVEDUB_RELAY_KEY_SECRET": (
                self.secrets.relay_key.secret_arn,
                ("secretsmanager:GetSecretValue",),
            ),
            "LIVEDUB_API_TOKEN_SECRET": (
                self.secrets.api_token.secret_arn,
                ("secretsmanager:GetSecretValue",),
            ),
        }
        for construct_id, function in self.functions.items():
            for variable in sorted(required_variables(construct_id)):
                resource, actions = rights[variable]
                _allow(function, resource, *actions)
            if construct_id != "AuthorizeMedia":
                _allow(function, self.tables.streams.table_arn, "dynamodb:PutItem")
        for construct_id in ("ReconcileStreams", "StreamApi"):
            _allow(self.functions[construct_id], self.tables.streams.table_arn, "dynamodb:Scan")
        # An operator's stop must end a run that still waits for a host: nobody else would notice.
        _allow(self.functions["StreamApi"], executions_arn(self, self.machine_name), "states:StopExecution")
        region = "<AWS::Region>" if Token.is_unresolved(self.region) else self.region
        account = "<AWS::AccountId>" if Token.is_unresolved(self.account) else self.account
        acknowledge(
            self.functions["StreamApi"].own_role,
            f"IAM5[Resource::arn:<AWS::Partition>:states:{region}:{account}:execution:{self.machine_name}:*]",
            "The executions of the one machine: their names come with the streams.",
        )

    def _outputs(self) -> None:
        for name, value, meaning in (
            (
                "HookApiUrl",
                self.control_api.api.api_endpoint,
                "Base URL of the API: hooks, auth and streams.",
            ),
            ("WorkQueueUrl", self.work.queue.queue_url, "AGENT_WORK_QUEUE_URL of the agents."),
            (
                "StateMachineArn",
                self.supervisor.machine.state_machine_arn,
                "One execution per run of a stream.",
            ),
        ):
            CfnOutput(self, name, value=value, description=meaning)


def _work_queue(scope: Construct, *, capacity_timeout_s: int) -> WorkQueue:
    return WorkQueue(
        scope,
        "WorkQueue",
        # An agent claims at once and deletes; whoever died in between gives the message back after this.
        hidden=Duration.seconds(30),
        # A claim token is dead after the capacity timeout, and so is its message.
        kept=Duration.seconds(max(2 * capacity_timeout_s, _MIN_RETENTION_S)),
        deliveries=5,
    )


def _allow(function: PythonFunction, resource: str, *actions: str) -> None:
    function.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=[resource]))
