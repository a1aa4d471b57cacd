"""Who dubs: the worker hosts, where their speech to speech is done, and the GPU host where that is this account's."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from aws_cdk import CfnOutput, Token
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge, acknowledge_below
from infra.constructs.gpu_host import GpuHost
from infra.constructs.media_cache_names import MediaCacheNames
from infra.constructs.python_function import FunctionSetup
from infra.constructs.python_layers import PythonLayers
from infra.constructs.sts_warm_up import StsWarmUp
from infra.constructs.worker_fleet import DRAIN_HOOK, READY_HOOK, WorkerFleet
from infra.environment_stack import EnvironmentStack
from infra.sources import Sources
from infra.stacks.control_plane import ControlPlaneStack
from infra.stacks.network import NetworkStack
from infra.stacks.state import StateStack

_METADATA = "http://169.254.169.254"
_LEFT = "/live/*"
"""What hosts write in the library's bucket `in`: what streams left."""
_SPOOL = "/var/lib/livedub/spool"


class WorkersStack(EnvironmentStack):
    """Wires the parts together, says to hosts what they start with, and grants rights.

    `gpu_host` is None where RunPod dubs, `warm_up` where the GPU host does.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        config: EnvironmentConfig,
        network: NetworkStack,
        state: StateStack,
        control_plane: ControlPlaneStack,
        sources: Sources,
    ) -> None:
        super().__init__(scope, "workers", config=config, holds="workers")
        self.names = MediaCacheNames.of(config)
        self._state = state
        self._control_plane = control_plane
        self.gpu_host = (
            GpuHost(
                self,
                "GpuHost",
                config=config,
                vpc=network.vpc,
                callers=network.doors.workers,
                endpoints=network.doors.endpoints,
                secret=state.sts.secret,
                sources=sources,
            )
            if config.sts.source == "gpu_host"
            else None
        )
        self._name_service()
        self.warm_up = None if self.gpu_host else self._warm_up(sources)
        self.fleet = WorkerFleet(
            self,
            "Fleet",
            config=config,
            subnets=network.vpc.private_subnets,
            door=network.doors.workers,
            sources=sources,
        )
        settings = self._settings()
        parameters = [self._parameter("workers", name, value) for name, value in settings.items()]
        self._grant()
        self.fleet.launch(_digest(settings), queue=control_plane.work.queue)
        # The first host reads them as soon as it has booted, and needs the right to.
        self.fleet.group.node.add_dependency(*parameters, self.fleet.role)
        self._outputs()

    def _settings(self) -> dict[str, str]:
        """What agents start with; .env.example says what each means."""
        workers = self.config.workers
        below = f"/{self.names.namespace}"
        return {
            "AGENT_WORK_QUEUE_URL": self._control_plane.work.queue.queue_url,
            "AGENT_STREAMS_TABLE": self._state.tables.streams.table_name,
            "AGENT_SLOTS": str(workers.slots),
            "AGENT_DRAIN_TIMEOUT_S": str(workers.drain_s),
            "AGENT_EVENTS_DIR": "/var/lib/livedub/events",
            "AGENT_IMDS_URL": _METADATA,
            "AGENT_LIFECYCLE_GROUP": self.fleet.group_name,
            "AGENT_LIFECYCLE_HOOK": DRAIN_HOOK,
            "AGENT_LIFECYCLE_LAUNCH_HOOK": READY_HOOK,
            "AGENT_LOAD_NAMESPACE": self.fleet.namespace,
            "AGENT_SHARED_PARAMETERS": f"{below}/sts,{below}/voice",
            "AGENT_SHARED_SECRETS": f"{self.names.namespace}/sts/secrets,{self.names.voice_secret}",
            "WORKER_DELAY_MS": str(workers.delay_ms),
            **self._library_settings(),
            **self.config.policy_variables(),
        }

    def _library_settings(self) -> dict[str, str]:
        workers = self.config.workers
        if workers.keeps == "nothing":
            return {}
        return {
            "AGENT_LIBRARY_SPOOL": _SPOOL,
            "AGENT_LIBRARY_FREE_MB": str(workers.free_gb * 1_024),
            "AGENT_LIBRARY_RECORDS": "true" if workers.keeps == "recordings" else "false",
            "S3_BUCKET_IN": self._state.buckets.media_in.bucket_name,
        }

    def _name_service(self) -> None:
        """Tell hosts where their speech to speech is done: they hear of a change while they run."""
        endpoint = self.config.sts.checked_endpoint_id()
        url = self.config.gpu_host.url if self.gpu_host else f"runpod://{endpoint}"
        self._parameter("sts", "STS_SERVICE_URL", url)
        if endpoint:
            self._parameter("sts", "RUNPOD_ENDPOINT_ID", endpoint)
        if self.config.sts.runpod_base_url:
            self._parameter("sts", "STS_RUNPOD_BASE_URL", self.config.sts.runpod_base_url)

    def _parameter(self, part: str, name: str, value: str) -> ssm.StringParameter:
        words = "".join(word.title() for word in (part, *name.split("_")))
        return ssm.StringParameter(
            self,
            words,
            parameter_name=f"/{self.names.namespace}/{part}/{name}",
            string_value=value,
            description="Of worker hosts.",
        )

    def _warm_up(self, sources: Sources) -> StsWarmUp:
        layers = PythonLayers(
            self, "Layers", dependencies=sources.layer("dependencies"), shared=sources.shared_layer
        )
        setup = FunctionSetup(
            source=sources.functions,
            layers=layers.all,
            log_retention=self.config.log_retention,
            log_level=self.config.log_level,
            values={},
            policy={},
            metrics_namespace=f"livedub/{self.config.name}",
        )
        return StsWarmUp(
            self,
            "StsWarmUp",
            machine=self._control_plane.supervisor.machine,
            setup=setup,
            service_url_parameter=f"/{self.names.namespace}/sts/STS_SERVICE_URL",
            secret=self._state.sts.secret,
            runpod_base_url=self.config.sts.runpod_base_url,
        )

    def _grant(self) -> None:
        fleet, state, control_plane = self.fleet, self._state, self._control_plane
        here = f"{self.region}:{self.account}"
        for resources, actions in (
            (
                [control_plane.work.queue.queue_arn],
                ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
            ),
            (
                [state.tables.streams.table_arn],
                ("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"),
            ),
            (
                [control_plane.supervisor.machine.state_machine_arn],
                ("states:SendTaskSuccess", "states:SendTaskHeartbeat"),
            ),
            (
                [
                    f"arn:{self.partition}:ssm:{here}:parameter/{self.names.namespace}/{part}"
                    for part in ("workers", "sts", "voice")
                ],
                ("ssm:GetParametersByPath",),
            ),
            (
                [state.sts.secret.secret_arn, state.voice.secret.secret_arn],
                ("secretsmanager:GetSecretValue",),
            ),
        ):
            fleet.allow(resources, *actions)
        if self.config.workers.keeps != "nothing":
            self._grant_uploads()
        self._acknowledge()

    def _grant_uploads(self) -> None:
        """Let hosts write what streams left, and read none of it. Large files go in parts, which a new try takes up."""
        bucket = self._state.buckets.media_in.bucket_arn
        self.fleet.allow([f"{bucket}{_LEFT}"], "s3:ListMultipartUploadParts", "s3:PutObject")
        self.fleet.allow([bucket], "s3:ListBucketMultipartUploads")
        acknowledge_below(
            self.fleet.role, self._state, bucket, _LEFT, "Subtitles and recordings, named by their streams."
        )

    def _acknowledge(self) -> None:
        region = "<AWS::Region>" if Token.is_unresolved(self.region) else self.region
        account = "<AWS::AccountId>" if Token.is_unresolved(self.account) else self.account
        here = f"{region}:{account}"
        acknowledge(
            self.fleet.role,
            f"IAM5[Resource::arn:<AWS::Partition>:autoscaling:{here}:autoScalingGroup:*:"
            f"autoScalingGroupName/{self.fleet.group_name}]",
            "The id of the group is not known before it is there; its name is.",
        )

    def _outputs(self) -> None:
        for name, value, meaning in (
            ("WorkerGroup", self.fleet.group.ref, "The auto-scaling group of the worker hosts."),
            ("WorkerRelease", self.fleet.release.version, "What a worker host installs."),
        ):
            CfnOutput(self, name, value=value, description=meaning)
        if self.gpu_host is not None:
            CfnOutput(
                self,
                "StsServiceUrl",
                value=self.config.gpu_host.url,
                description="STS of this account's own.",
            )


def _digest(settings: Mapping[str, str]) -> str:
    """Of the settings that are known now: those that are not do not change while their stacks live."""
    known = {name: value for name, value in settings.items() if not Token.is_unresolved(value)}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
