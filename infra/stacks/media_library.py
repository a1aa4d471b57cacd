"""The media library: its API, and the state machine and functions that do its jobs."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aws_cdk import CfnOutput, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge, acknowledge_below
from infra.constructs.control_api import ControlApi
from infra.constructs.media_buckets import PARTS_PREFIX
from infra.constructs.media_job_triggers import MediaJobTriggers
from infra.constructs.media_jobs import RANGES, MediaJobs, media_work_queue
from infra.constructs.python_function import FunctionNetwork, FunctionSetup, FunctionSpec, PythonFunction
from infra.constructs.python_layers import PythonLayers
from infra.constructs.task_token_machine import executions_arn, machine_arn
from infra.environment_stack import EnvironmentStack
from infra.sources import Sources
from infra.stacks.network import NetworkStack
from infra.stacks.state import StateStack

FUNCTIONS: Mapping[str, FunctionSpec] = MappingProxyType(
    {
        "LibraryApi": FunctionSpec("The library's API: REST and GraphQL.", timeout_s=29, memory_mb=1_024),
        "MediaJobRoute": FunctionSpec("State machine: where a job is done.", timeout_s=30),
        # As long as Lambda has them, and as large as a new account may have them; what does not fit goes to a host.
        "MediaJobRun": FunctionSpec(
            "State machine: does a small job.", timeout_s=900, memory_mb=3_008, disk_mb=4_096
        ),
        "MediaJobEnd": FunctionSpec("State machine: reports a job's end to the API.", timeout_s=30),
        "MediaJobSweep": FunctionSpec("Submits jobs that no execution was started for.", timeout_s=50),
    }
)
"""By construct id, which is the PascalCase of the folder in functions/ and a public name."""

ROUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"LibraryApi": ("ANY /api/{proxy+}", "POST /graphql")}
)

_READ = ("s3:GetObject",)
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_BUCKET = ("s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads")


class MediaLibraryStack(EnvironmentStack):
    """Queue, state machine, functions and API of one environment's library, on what the stack `state` keeps."""

    def __init__(
        self,
        scope: Construct,
        *,
        config: EnvironmentConfig,
        network: NetworkStack,
        state: StateStack,
        sources: Sources,
    ) -> None:
        super().__init__(scope, "media-library", config=config, holds="media library")
        self.machine_name = f"livedub-{config.name}-media-job"
        self.buckets = state.buckets
        self.secrets = state.library
        self.database = state.database
        self.work = media_work_queue(self, "WorkQueue")
        self.functions = self._functions(sources, network)
        self.jobs = MediaJobs(
            self,
            "MediaJobs",
            name=self.machine_name,
            functions=self.functions,
            work_queue=self.work.queue,
            log_retention=config.log_retention,
        )
        self.api = ControlApi(
            self,
            "LibraryHttpApi",
            api_name=f"livedub-{config.name}-library",
            routes=ROUTES,
            functions=self.functions,
            requests_per_s=config.requests_per_s,
            burst_requests=config.burst_requests,
            log_retention=config.log_retention,
        )
        MediaJobTriggers(
            self,
            "Triggers",
            machine=self.jobs.machine,
            sweep=self.functions["MediaJobSweep"],
            end=self.functions["MediaJobEnd"],
        )
        self.functions["MediaJobEnd"].add_environment("LIBRARY_CALLBACK_URL", self.api.api.api_endpoint)
        self.host_policy = self._host_policy()
        self._grant()
        self._acknowledge(state)
        self._outputs()

    def _functions(self, sources: Sources, network: NetworkStack) -> dict[str, PythonFunction]:
        layers = PythonLayers(
            self,
            "Layers",
            dependencies=sources.layer("library"),
            shared=sources.shared_layer,
            contents="Third-party packages of locks/library-functions.txt.",
        )
        setup = FunctionSetup(
            source=sources.functions,
            layers=layers.all,
            log_retention=self.config.log_retention,
            log_level=self.config.log_level,
            metrics_namespace=self.metrics_namespace,
            policy={},
            values={},
            # Where NAT leads to what has no endpoint here: SQS and Step Functions.
            network=FunctionNetwork(
                network.vpc,
                ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
                [network.doors.library],
            ),
        )
        environment = {
            "S3_BUCKET_IN": self.buckets.media_in.bucket_name,
            "S3_BUCKET_OUT": self.buckets.media_out.bucket_name,
            "LIVEDUB_EXECUTOR": "stepfunctions",
            "LIBRARY_STATE_MACHINE_ARN": machine_arn(self, self.machine_name),
            "LIBRARY_DATABASE_URL_SECRET": self.database.secret.secret_arn,
            "LIBRARY_CALLBACK_SECRET_NAME": self.secrets.callback_secret.secret_arn,
        }
        own = {"LibraryApi": {"LIBRARY_API_TOKEN_SECRET": self.secrets.api_token.secret_arn}}
        return {
            construct_id: PythonFunction(
                self,
                construct_id,
                spec=FunctionSpec(
                    spec.description,
                    spec.timeout_s,
                    spec.memory_mb,
                    spec.disk_mb,
                    {**environment, **own.get(construct_id, {})},
                ),
                setup=setup,
            )
            for construct_id, spec in FUNCTIONS.items()
        }

    def _grant(self) -> None:
        """Let each function do what it does and no more."""
        media_in, media_out = self.buckets.media_in, self.buckets.media_out
        for function in self.functions.values():
            self.database.secret.grant_read(function)
        for construct_id in ("LibraryApi", "MediaJobEnd"):
            self.secrets.callback_secret.grant_read(self.functions[construct_id])
        api = self.functions["LibraryApi"]
        self.secrets.api_token.grant_read(api)
        # Presigned addresses carry the rights of whoever signed them.
        _allow(api, (*_READ, *_WRITE), f"{media_in.bucket_arn}/*")
        _allow(api, _READ, f"{media_out.bucket_arn}/*")
        _allow(api, _BUCKET, media_in.bucket_arn, media_out.bucket_arn)
        for starter in (api, self.functions["MediaJobSweep"]):
            _allow(starter, ("states:StartExecution",), machine_arn(self, self.machine_name))
        _allow(api, ("states:StopExecution",), executions_arn(self, self.machine_name))
        run = self.functions["MediaJobRun"]
        _allow(run, _READ, f"{media_in.bucket_arn}/*")
        _allow(run, (*_READ, *_WRITE), f"{media_out.bucket_arn}/*")
        _allow(run, _BUCKET, media_in.bucket_arn, media_out.bucket_arn)
        route = self.functions["MediaJobRoute"]
        _allow(route, _READ, f"{media_in.bucket_arn}/*")
        _allow(route, _BUCKET, media_in.bucket_arn)
        # Parts of a dub that was given up.
        end = self.functions["MediaJobEnd"]
        _allow(end, ("s3:DeleteObject",), f"{media_out.bucket_arn}/{PARTS_PREFIX}*")
        _allow(end, ("s3:ListBucket",), media_out.bucket_arn)

    def _host_policy(self) -> iam.ManagedPolicy:
        """What a host of `python -m media_edge.library host` may do; for the role of its machines."""
        policy = iam.ManagedPolicy(
            self, "HostPolicy", description="Hosts that work on the media library's jobs."
        )
        for actions, resources in (
            (
                ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"],
                [self.work.queue.queue_arn],
            ),
            (
                ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"],
                [
                    self.jobs.machine.state_machine_arn,
                    f"{self.jobs.machine.state_machine_arn}/{RANGES}",
                ],
            ),
            (list(_READ), [f"{self.buckets.media_in.bucket_arn}/*"]),
            ([*_READ, *_WRITE], [f"{self.buckets.media_out.bucket_arn}/*"]),
            (list(_BUCKET), [self.buckets.media_in.bucket_arn, self.buckets.media_out.bucket_arn]),
        ):
            policy.add_statements(iam.PolicyStatement(actions=actions, resources=resources))
        policy.add_statements(
            iam.PolicyStatement(
                actions=["secretsmanager:GetSecretValue"],
                resources=[self.database.secret.secret_arn],
            )
        )
        return policy

    def _acknowledge(self, state: StateStack) -> None:
        media_in, media_out = self.buckets.media_in.bucket_arn, self.buckets.media_out.bucket_arn
        roles = [self.functions[each].own_role for each in ("LibraryApi", "MediaJobRun", "MediaJobRoute")]
        for construct in (*roles, self.host_policy):
            for arn in (media_in, media_out):
                acknowledge_below(construct, state, arn, "/*", "Every file of the library's own buckets.")
        acknowledge_below(
            self.functions["MediaJobEnd"].own_role,
            state,
            media_out,
            f"/{PARTS_PREFIX}*",
            "Every part of every job.",
        )
        region = "<AWS::Region>" if Token.is_unresolved(self.region) else self.region
        account = "<AWS::AccountId>" if Token.is_unresolved(self.account) else self.account
        for role in (self.functions["LibraryApi"].own_role, self.jobs.machine.role):
            acknowledge(
                role,
                f"IAM5[Resource::arn:<AWS::Partition>:states:{region}:{account}:execution:{self.machine_name}:*]",
                "The executions of the one machine: their names come with the jobs.",
            )

    def _outputs(self) -> None:
        for name, value, meaning in (
            ("LibraryApiUrl", self.api.api.api_endpoint, "Base URL of the API: /api/... and /graphql."),
            ("MediaWorkQueueUrl", self.work.queue.queue_url, "LIBRARY_WORK_QUEUE_URL of hosts."),
            ("MediaHostPolicy", self.host_policy.managed_policy_arn, "For the role of the hosts."),
            ("MediaJobArn", self.jobs.machine.state_machine_arn, "LIBRARY_STATE_MACHINE_ARN."),
        ):
            CfnOutput(self, name, value=value, description=meaning)


def _allow(function: PythonFunction, actions: tuple[str, ...], *resources: str) -> None:
    function.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))
