"""A GPU is woken up while a host for the stream is still being found: what calls `warm_sts`, and what it may."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.python_function import FunctionSetup, FunctionSpec, PythonFunction

WORTH = Duration.minutes(1)
"""A stream's own worker asks as soon as it runs; later than this the question is worth nothing."""


class StsWarmUp(Construct):
    """`function` looks at the RunPod endpoint whenever an execution of `machine` begins, and wakes it up.

    It needs the internet and nothing inside the network, so `setup` should name no network. Its failures are those of
    configuration: that RunPod does not answer is counted, and no stream waits for it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.IStateMachine,
        setup: FunctionSetup,
        service_url_parameter: str,
        secret: secretsmanager.ISecret,
        runpod_base_url: str = "",
    ) -> None:
        """Make it.

        Args:
            scope: the stack.
            construct_id: of this construct.
            machine: stream_supervisor.
            setup: of the stack's functions.
            service_url_parameter: name of the SSM parameter with STS_SERVICE_URL.
            secret: the JSON object with STS_API_KEY.
            runpod_base_url: STS_RUNPOD_BASE_URL, where it is not RunPod's own.
        """
        super().__init__(scope, construct_id)
        environment = {
            "LIVEDUB_STS_URL_PARAMETER": service_url_parameter,
            "LIVEDUB_STS_SECRET": secret.secret_arn,
        }
        if runpod_base_url:
            environment["STS_RUNPOD_BASE_URL"] = runpod_base_url
        self.function = PythonFunction(
            self,
            "WarmSts",
            spec=FunctionSpec(
                "A stream begins: has RunPod start a worker.", timeout_s=20, environment=environment
            ),
            setup=setup,
        )
        self._allow("ssm:GetParameters", self._parameter_arn(service_url_parameter))
        self._allow("secretsmanager:GetSecretValue", secret.secret_arn)
        events.Rule(
            self,
            "ExecutionBegan",
            description="A stream got a publisher: speech to speech should be awake when its first fragment comes.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"status": ["RUNNING"], "stateMachineArn": [machine.state_machine_arn]},
            ),
            targets=[targets.LambdaFunction(self.function, retry_attempts=1, max_event_age=WORTH)],
        )
        self.function.configure_async_invoke(retry_attempts=0, max_event_age=WORTH)

    def _parameter_arn(self, name: str) -> str:
        return Stack.of(self).format_arn(
            service="ssm",
            resource="parameter",
            resource_name=name.removeprefix("/"),
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )

    def _allow(self, action: str, resource: str) -> None:
        self.function.add_to_role_policy(iam.PolicyStatement(actions=[action], resources=[resource]))
