"""The media library: buckets, jobs, API. Its catalogue is a Postgres of the operator's, named by a secret."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from aws_cdk import CfnOutput, Environment, RemovalPolicy, Stack, Tags, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge
from infra.constructs.control_api import ControlApi
from infra.constructs.media_buckets import PARTS_PREFIX, MediaBuckets
from infra.constructs.media_job_triggers import MediaJobTriggers
from infra.constructs.media_jobs import MediaJobs, media_work_queue
from infra.constructs.python_function import FunctionNetwork, FunctionSetup, FunctionSpec, PythonFunction
from infra.constructs.python_layers import PythonLayers
from infra.constructs.task_token_machine import executions_arn, machine_arn

FUNCTIONS: Mapping[str, FunctionSpec] = MappingProxyType(
    {
        "LibraryApi": FunctionSpec("The library's API: REST and GraphQL.", timeout_s=29, memory_mb=1_024),
        "MediaJobRoute": FunctionSpec("State machine: where a job is done.", timeout_s=30),
        # As long and as large as Lambda has them; what does not fit goes to a host.
        "MediaJobRun": FunctionSpec(
            "State machine: does a small job.", timeout_s=900, memory_mb=3_072, disk_mb=4_096
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


@dataclass(frozen=True, slots=True)
class LibrarySources:
    """Where the code lies that functions and layers are made of."""

    functions: Path
    shared_layer: Path
    media_layer: Path
    """Third-party packages of locks/library-functions.txt, PyAV among them."""


@dataclass(frozen=True, slots=True)
class DatabaseNetwork:
    """The network of the catalogue's Postgres; functions must reach S3, SQS and Step Functions from it, too."""

    vpc_id: str
    availability_zones: tuple[str, ...]
    private_subnet_ids: tuple[str, ...]
    security_group_id: str


class MediaLibraryStack(Stack):
    """Buckets, queue, state machine, functions and API of one environment's library."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        sources: LibrarySources,
        network: DatabaseNetwork | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=construct_id,
            description=f"livedub: media library of environment {config.name}",
            env=Environment(account=config.account, region=config.region),
            termination_protection=config.stateful_resources_survive,
        )
        self.config = config
        Tags.of(self).add("livedub:environment", config.name)
        survive = config.stateful_resources_survive
        self.machine_name = f"livedub-{config.name}-media-job"
        self.buckets = MediaBuckets(self, "Media", survive=survive)
        self.work = media_work_queue(self, "WorkQueue")
        self.api_token = self._secret("ApiToken", "Bearer token of the library's API.", survive=survive)
        self.callback_secret = self._secret(
            "CallbackSecret", "Signs callbacks of the state machine to the library's API.", survive=survive
        )
        self.database_url = secretsmanager.Secret.from_secret_name_v2(
            self, "DatabaseUrl", f"livedub/{config.name}/library/database-url"
        )
        self.functions = self._functions(sources, self._network(network))
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
        self._outputs()

    def _secret(self, construct_id: str, description: str, *, survive: bool) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            construct_id,
            description=description,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=64, exclude_punctuation=True, include_space=False
            ),
            removal_policy=RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY,
        )
        acknowledge(
            secret, "SMG4", "Whoever calls the API must get a new value first: docs/deploy.md, Rotate."
        )
        return secret

    def _network(self, network: DatabaseNetwork | None) -> FunctionNetwork | None:
        if network is None:
            return None
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=network.vpc_id,
            availability_zones=list(network.availability_zones),
            private_subnet_ids=list(network.private_subnet_ids),
        )
        group = ec2.SecurityGroup.from_security_group_id(self, "SecurityGroup", network.security_group_id)
        return FunctionNetwork(
            vpc, ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS), [group]
        )

    def _functions(
        self, sources: LibrarySources, network: FunctionNetwork | None
    ) -> dict[str, PythonFunction]:
        layers = PythonLayers(
            self,
            "Layers",
            dependencies=sources.media_layer,
            shared=sources.shared_layer,
            contents="Third-party packages of locks/library-functions.txt.",
        )
        setup = FunctionSetup(
            source=sources.functions,
            layers=layers.all,
            log_retention=self.config.log_retention,
            log_level=self.config.log_level,
            policy={},
            values={},
            network=network,
        )
        environment = {
            "S3_BUCKET_IN": self.buckets.media_in.bucket_name,
            "S3_BUCKET_OUT": self.buckets.media_out.bucket_name,
            "LIVEDUB_EXECUTOR": "stepfunctions",
            "LIBRARY_STATE_MACHINE_ARN": machine_arn(self, self.machine_name),
            "LIBRARY_DATABASE_URL_SECRET": self.database_url.secret_name,
            "LIBRARY_CALLBACK_SECRET_NAME": self.callback_secret.secret_arn,
        }
        own = {"LibraryApi": {"LIBRARY_API_TOKEN_SECRET": self.api_token.secret_arn}}
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
            self.database_url.grant_read(function)
        for construct_id in ("LibraryApi", "MediaJobEnd"):
            self.callback_secret.grant_read(self.functions[construct_id])
        api = self.functions["LibraryApi"]
        self.api_token.grant_read(api)
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
        self._acknowledge()

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
                [self.jobs.machine.state_machine_arn],
            ),
            (list(_READ), [f"{self.buckets.media_in.bucket_arn}/*"]),
            ([*_READ, *_WRITE], [f"{self.buckets.media_out.bucket_arn}/*"]),
            (list(_BUCKET), [self.buckets.media_in.bucket_arn, self.buckets.media_out.bucket_arn]),
        ):
            policy.add_statements(iam.PolicyStatement(actions=actions, resources=resources))
        policy.add_statements(
            iam.PolicyStatement(
                actions=["secretsmanager:GetSecretValue"],
                resources=[f"{self.database_url.secret_arn}-??????"],
            )
        )
        return policy

    def _acknowledge(self) -> None:
        policy = self.host_policy
        roles = [self.functions[each].own_role for each in ("LibraryApi", "MediaJobRun", "MediaJobRoute")]
        for construct in (*roles, policy):
            for bucket in (self.buckets.media_in, self.buckets.media_out):
                acknowledge(
                    construct,
                    f"IAM5[Resource::<{_logical_id(self, bucket)}.Arn>/*]",
                    "Every file of the library's own buckets.",
                )
        acknowledge(
            self.functions["MediaJobEnd"].own_role,
            f"IAM5[Resource::<{_logical_id(self, self.buckets.media_out)}.Arn>/{PARTS_PREFIX}*]",
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
        for construct in (*(function.own_role for function in self.functions.values()), policy):
            acknowledge(
                construct,
                f"IAM5[Resource::arn:<AWS::Partition>:secretsmanager:{region}:{account}:secret:"
                f"livedub/{self.config.name}/library/database-url-??????]",
                "A secret that the operator makes: Secrets Manager adds six characters to its name.",
            )

    def _outputs(self) -> None:
        for name, value, meaning in (
            ("LibraryApiUrl", self.api.api.api_endpoint, "Base URL of the API: /api/... and /graphql."),
            ("MediaBucketIn", self.buckets.media_in.bucket_name, "S3_BUCKET_IN of hosts."),
            ("MediaBucketOut", self.buckets.media_out.bucket_name, "S3_BUCKET_OUT of hosts."),
            ("MediaWorkQueueUrl", self.work.queue.queue_url, "LIBRARY_WORK_QUEUE_URL of hosts."),
            ("MediaHostPolicy", self.host_policy.managed_policy_arn, "For the role of the hosts."),
            ("MediaJobArn", self.jobs.machine.state_machine_arn, "LIBRARY_STATE_MACHINE_ARN."),
            ("LibraryApiTokenSecret", self.api_token.secret_arn, "Holds the bearer token of the API."),
        ):
            CfnOutput(self, name, value=value, description=meaning)


def _allow(function: PythonFunction, actions: tuple[str, ...], *resources: str) -> None:
    function.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))


def _logical_id(stack: Stack, bucket: s3.Bucket) -> str:
    return stack.get_logical_id(bucket.node.default_child)
