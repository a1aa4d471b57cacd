"""One Lambda function from one folder of `functions/`."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.acknowledged import acknowledge
from livedub.errors import ConfigurationError
from livedub.settings import variables
from livedub.supervision.function_settings import FUNCTION_SETTINGS

HANDLER = "handler.handler"
"""Every folder's `handler.py` has a function of this name."""

_DISK_MB = 512
"""What Lambda gives without being asked."""

_INTERFACES = ("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces")
"""What Lambda does with a function's role to give it an address in a network."""

NOT_IN_ASSETS = ["__pycache__", "*.pyc", ".*_cache", "*.md"]
"""Left out of every asset, so that running a test does not change what would be deployed."""


@dataclass(frozen=True, slots=True)
class FunctionNetwork:
    """A network of ours that functions reach a database in."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    security_groups: Sequence[ec2.ISecurityGroup]


@dataclass(frozen=True, slots=True)
class FunctionSetup:
    """What the functions of one stack share.

    Attributes:
        source: the folder that holds one folder per function.
        layers: dependencies and the shared package.
        log_retention: of each function's own log group.
        values: every environment variable some function may ask for.
        policy: variables of SupervisionPolicy where this environment departs from the defaults.
        log_level: of the functions' own lines.
        metrics_namespace: of the functions' own metrics.
        network: where they run; None: outside of any network of ours.
    """

    source: Path
    layers: Sequence[lambda_.LayerVersion]
    log_retention: logs.RetentionDays
    values: Mapping[str, str]
    policy: Mapping[str, str]
    log_level: str
    metrics_namespace: str
    network: FunctionNetwork | None = None


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """What one function needs of its own.

    Attributes:
        description: one sentence for the console.
        timeout_s: how long one call may take.
        memory_mb: also decides its share of a processor, and with it the cold start.
        disk_mb: of /tmp.
        environment: its variables; None takes those that FUNCTION_SETTINGS says it requires.
    """

    description: str
    timeout_s: int = 10
    memory_mb: int = 512
    disk_mb: int = 512
    environment: Mapping[str, str] | None = None


class PythonFunction(lambda_.Function):
    """A function with its own role and log group; its id is the PascalCase of its folder and a public name."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        spec: FunctionSpec,
        setup: FunctionSetup,
        reserved_concurrency: int | None = None,
    ) -> None:
        folder = setup.source / folder_name(construct_id)
        if not (folder / "handler.py").is_file():
            raise ConfigurationError(
                f"function {construct_id} has no {folder / 'handler.py'}.",
                remedy="A function's construct id is the PascalCase of its folder's name.",
            )
        log_group = logs.LogGroup(
            scope,
            f"{construct_id}Logs",
            retention=setup.log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            scope,
            f"{construct_id}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Of the function {construct_id} alone.",
        )
        log_group.grant_write(role)
        if setup.network:
            # CDK gives this to roles that it makes itself alone; without it the function is refused its network.
            role.add_to_policy(iam.PolicyStatement(actions=list(_INTERFACES), resources=["*"]))
        super().__init__(
            scope,
            construct_id,
            description=spec.description,
            runtime=lambda_.Runtime.PYTHON_3_11,
            architecture=lambda_.Architecture.X86_64,
            handler=HANDLER,
            code=lambda_.Code.from_asset(str(folder), exclude=NOT_IN_ASSETS, ignore_mode=IgnoreMode.GIT),
            layers=list(setup.layers),
            role=role,
            log_group=log_group,
            timeout=Duration.seconds(spec.timeout_s),
            memory_size=spec.memory_mb,
            tracing=lambda_.Tracing.ACTIVE,
            reserved_concurrent_executions=reserved_concurrency,
            ephemeral_storage_size=Size.mebibytes(spec.disk_mb) if spec.disk_mb != _DISK_MB else None,
            vpc=setup.network.vpc if setup.network else None,
            vpc_subnets=setup.network.subnets if setup.network else None,
            security_groups=setup.network.security_groups if setup.network else None,
            environment=_environment(construct_id, spec, setup),
        )
        acknowledge(
            self, "L1", "Every part of livedub runs on the one Python that Debian's GStreamer bindings have."
        )
        self.own_role = role
        acknowledge(
            role,
            "IAM5[Resource::*]",
            "X-Ray has no resources to name, nor have interfaces before they are there.",
        )


def folder_name(construct_id: str) -> str:
    """`OnPublish` lies in `on_publish`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", construct_id).lower()


def required_variables(construct_id: str) -> frozenset[str]:
    """The variables without which this function cannot build its settings.

    Raises:
        ConfigurationError: FUNCTION_SETTINGS does not know the function.
    """
    folder = folder_name(construct_id)
    if folder not in FUNCTION_SETTINGS:
        raise ConfigurationError(
            f"function {construct_id} has no settings class.",
            remedy=f"Add {folder!r} to FUNCTION_SETTINGS of livedub.supervision.function_settings.",
        )
    settings = FUNCTION_SETTINGS[folder]
    fields = zip(settings.model_fields.values(), variables(settings), strict=True)
    return frozenset(variable.name for field, variable in fields if field.is_required())


def _environment(construct_id: str, spec: FunctionSpec, setup: FunctionSetup) -> dict[str, str]:
    return {
        **setup.policy,
        **(_required_values(construct_id, setup) if spec.environment is None else spec.environment),
        "POWERTOOLS_SERVICE_NAME": folder_name(construct_id),
        "POWERTOOLS_METRICS_NAMESPACE": setup.metrics_namespace,
        "POWERTOOLS_LOG_LEVEL": setup.log_level,
    }


def _required_values(construct_id: str, setup: FunctionSetup) -> dict[str, str]:
    required = required_variables(construct_id)
    unknown = sorted(required - set(setup.values))
    if unknown:
        raise ConfigurationError(
            f"function {construct_id} requires {', '.join(unknown)}, which the stack does not provide.",
            remedy="Give it a value in the stack's FunctionSetup.",
        )
    return {name: setup.values[name] for name in sorted(required)}
