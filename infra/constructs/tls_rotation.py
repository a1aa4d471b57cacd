"""A new certificate of the media cache, from two stores to the host: the state machine rotate_tls, and what starts it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.acknowledged import acknowledge
from infra.constructs.host_actions import HostActions
from infra.constructs.media_cache_names import MediaCacheNames
from infra.constructs.python_function import FunctionNetwork, FunctionSetup, FunctionSpec, PythonFunction
from infra.constructs.task_token_machine import machine_arn
from infra.tls_rotation_config import TlsRotationConfig

DEFINITION = Path(__file__).resolve().parents[1] / "statemachines" / "rotate_tls.asl.json"

STEPS = ("StartTlsRotation", "CheckTls", "PublishTlsBundle", "SettleTlsStores")
"""Functions; substitutions of the definition have the same names, with `Arn`."""

HOST_ACTIONS = {
    "rotate-tls": "/usr/local/bin/livedub media rotate",
    "restore-tls": "/usr/local/bin/livedub media rotate --back",
}
_WRITES = ("PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage")


class TlsRotation(Construct):
    """`functions` by their ids, and with a host `machine`, which its rules and its schedule start."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: MediaCacheNames,
        waits: TlsRotationConfig,
        setup: FunctionSetup,
        inside: FunctionNetwork,
        instance_id: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._names = names
        self.machine_name = f"livedub-{names.environment}-rotate-tls"
        self.machine_arn = machine_arn(self, self.machine_name)
        self.functions = self._functions(scope, waits, setup, inside)
        self.machine = self._machine(instance_id, setup.log_retention) if instance_id else None
        if self.machine:
            self._rules()

    def _functions(
        self, scope: Construct, waits: TlsRotationConfig, setup: FunctionSetup, inside: FunctionNetwork
    ) -> dict[str, PythonFunction]:
        stores = {"NAMESPACE": self._names.namespace}
        consumers = {**stores, "MEDIA_CONSUMER_PREFIX": self._names.consumer_prefix}
        specs = {
            "StartTlsRotation": FunctionSpec(
                "Starts rotate_tls for what the two stores hold.",
                timeout_s=30,
                environment={**stores, "MEDIA_TLS_ROTATION_MACHINE_ARN": self.machine_arn},
            ),
            "CheckTls": FunctionSpec(
                "rotate_tls: what is stored, what is served, what comes next.",
                timeout_s=55,
                environment={
                    **consumers,
                    "TTS_MEDIA_CACHE_BASE_URL": self._names.base_url,
                    **waits.check_variables(),
                },
            ),
            "PublishTlsBundle": FunctionSpec(
                "rotate_tls: what consumers trust.",
                timeout_s=30,
                environment={**consumers, **waits.publish_variables()},
            ),
            "SettleTlsStores": FunctionSpec(
                "rotate_tls: marks the pair that is served, or takes one back.",
                timeout_s=30,
                environment=stores,
            ),
        }
        # The one that speaks to the host is where its consumers are.
        places = {"CheckTls": replace(setup, network=inside)}
        return {
            step: PythonFunction(scope, step, spec=specs[step], setup=places.get(step, setup))
            for step in STEPS
        }

    def _machine(self, instance_id: str, log_retention: logs.RetentionDays) -> sfn.StateMachine:
        actions = HostActions(self, "HostActions", environment=self._names.environment, actions=HOST_ACTIONS)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        arns = {step: function.function_arn for step, function in self.functions.items()}
        machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=self.machine_name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(DEFINITION.read_text(encoding="utf-8")),
            definition_substitutions={
                **{f"{step}Arn": arn for step, arn in arns.items()},
                "HostDocument": actions.document_name,
                "InstanceId": instance_id,
            },
            role=role,
            tracing_enabled=True,
            # With data: fingerprints and reasons, no key.
            logs=sfn.LogOptions(
                destination=logs.LogGroup(
                    self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
                ),
                level=sfn.LogLevel.ALL,
                include_execution_data=True,
            ),
        )
        machine.node.add_dependency(actions)
        host = Stack.of(self).format_arn(service="ec2", resource="instance", resource_name=instance_id)
        for actions_, resources in (
            (["lambda:InvokeFunction"], list(arns.values())),
            (["ssm:SendCommand"], [actions.arn, host]),
            (["ssm:GetCommandInvocation"], ["*"]),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions_, resources=resources))
        acknowledge(
            role,
            "IAM5[Resource::*]",
            "X-Ray, the log delivery API and the answer to a command have no resources to name.",
        )
        return machine

    def _rules(self) -> None:
        start = self.functions["StartTlsRotation"]
        secret = Stack.of(self).format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=self._names.secret,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        for construct_id, description, pattern in (
            (
                "CertificateChanged",
                "The media cache is given another certificate.",
                events.EventPattern(
                    source=["aws.ssm"],
                    detail_type=["Parameter Store Change"],
                    detail={"name": [self._names.parameter("MEDIA_TLS_FULLCHAIN_B64")]},
                ),
            ),
            (
                "KeyChanged",
                "The media cache is given another key; only where a trail records management events.",
                events.EventPattern(
                    source=["aws.secretsmanager"],
                    detail_type=["AWS API Call via CloudTrail"],
                    detail={
                        "eventSource": ["secretsmanager.amazonaws.com"],
                        "eventName": list(_WRITES),
                        # The caller says which, by name or ARN.
                        "requestParameters": {"secretId": [self._names.secret, {"prefix": secret}]},
                    },
                ),
            ),
        ):
            events.Rule(
                self,
                construct_id,
                description=description,
                event_pattern=pattern,
                targets=[targets.LambdaFunction(start)],
            )
        events.Rule(
            self,
            "Hourly",
            description="Sees to it that what is stored is served, whatever hint was lost.",
            schedule=events.Schedule.rate(Duration.hours(1)),
            # The next hour's does the same.
            targets=[targets.LambdaFunction(start, retry_attempts=0)],
        )
