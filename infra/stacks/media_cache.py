"""The media cache of one environment: host, clean-up, and how its certificate changes."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from dataclasses import replace

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.host_release import HostRelease
from infra.constructs.managed_host import HostPlace
from infra.constructs.media_cache_host import MediaCacheHost
from infra.constructs.media_cache_material import MediaCacheMaterial
from infra.constructs.media_cache_names import MediaCacheNames
from infra.constructs.media_cache_release import HostSources
from infra.constructs.python_function import FunctionNetwork, FunctionSetup, FunctionSpec, PythonFunction
from infra.constructs.python_layers import PythonLayers
from infra.constructs.tls_rotation import TlsRotation
from infra.environment_stack import EnvironmentStack
from infra.sources import Sources
from infra.stacks.network import NetworkStack
from infra.stacks.state import StateStack

_BUNDLE = "TTS_MEDIA_CACHE_CA_BUNDLE"
_HOST_PARAMETERS = (
    "MEDIA_TLS_FULLCHAIN_B64",
    "MEDIA_DATA_DIR",
    "MEDIA_TLS_CERT_HOST_PATH",
    "MEDIA_TLS_SAN_DNS",
)


class MediaCacheStack(EnvironmentStack):
    """Wires the parts together and grants rights."""

    def __init__(
        self,
        scope: Construct,
        *,
        config: EnvironmentConfig,
        network: NetworkStack,
        state: StateStack,
        sources: Sources,
    ) -> None:
        super().__init__(scope, "media-cache", config=config, holds="media cache")
        self.names = MediaCacheNames.of(config)
        survive = config.stateful_resources_survive
        self.material = MediaCacheMaterial(
            self,
            "Material",
            names=self.names,
            san_dns=config.media_cache.san_dns,
            token_length=config.token_length,
            survive=survive,
        )
        self.database = state.database
        self.voice = state.voice
        self.host = MediaCacheHost(
            self,
            "Host",
            config=config,
            place=HostPlace(network.isolated[0], network.doors.cache),
            interface=network.cache_address.interface,
            first_boot=[sources.user_data("host_first_boot.sh"), sources.user_data("media_cache.sh")],
            present=config.media_cache.host,
        )
        installed = _host_sources(sources)
        self.release = HostRelease(self, "Release", archives=installed.archives(), install=installed.install)
        self._setup = self._function_setup(sources)
        self.cleanup = self._cleanup(network)
        self.rotation = TlsRotation(
            self,
            "Rotation",
            names=self.names,
            waits=config.media_cache.rotation,
            setup=self._setup,
            inside=self._inside(network, network.doors.rotation),
            instance_id=self.host.instance.ref if self.host.instance is not None else None,
        )
        self._grant()
        self._grant_rotation()
        self._install()
        self._outputs()

    def _function_setup(self, sources: Sources) -> FunctionSetup:
        layers = PythonLayers(
            self,
            "Layers",
            dependencies=sources.layer("media-cache"),
            shared=sources.shared_layer,
            contents="Third-party packages of locks/media-cache-functions.txt.",
        )
        return FunctionSetup(
            source=sources.functions,
            layers=layers.all,
            log_retention=self.config.log_retention,
            log_level=self.config.log_level,
            metrics_namespace=self.metrics_namespace,
            policy={},
            values={},
        )

    def _inside(self, network: NetworkStack, group: ec2.ISecurityGroup) -> FunctionNetwork:
        return FunctionNetwork(network.vpc, ec2.SubnetSelection(subnets=network.isolated), [group])

    def _cleanup(self, network: NetworkStack) -> PythonFunction:
        cleanup = PythonFunction(
            self,
            "MediaCacheCleanup",
            spec=FunctionSpec(
                "Every hour: deletes speech past its time.",
                timeout_s=720,
                environment={
                    "TTS_MEDIA_CACHE_BASE_URL": self.names.base_url,
                    "MEDIA_CLEANUP_DATABASE_SECRET": self.database.secret.secret_arn,
                    "MEDIA_CLEANUP_TOKEN_SECRET": self.voice.secret.secret_arn,
                    "MEDIA_CLEANUP_BUNDLE_PREFIX": self.names.consumer_prefix,
                },
            ),
            setup=replace(self._setup, network=self._inside(network, network.doors.cleanup)),
        )
        events.Rule(
            self,
            "Hourly",
            description="Cleans the media cache.",
            schedule=events.Schedule.rate(Duration.hours(1)),
            # The next hour's does what this one could not.
            targets=[targets.LambdaFunction(cleanup, retry_attempts=0)],
        )
        return cleanup

    def _grant(self) -> None:
        bundles = self._parameter_arns(*self.names.consumer_parameters(_BUNDLE))
        shared = [self.voice.secret.secret_arn, self.database.secret.secret_arn]
        for role, secrets in (
            # Its key is the host's: whoever only writes has no use for it.
            (self.host.role, [self.material.secret.secret_arn, *shared]),
            (self.cleanup.own_role, shared),
        ):
            role.add_to_policy(
                iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=secrets)
            )
            role.add_to_policy(iam.PolicyStatement(actions=["ssm:GetParameters"], resources=bundles))
        host = self.host.role
        host.add_to_policy(
            iam.PolicyStatement(
                actions=["ssm:GetParameters"],
                resources=self._parameter_arns(*map(self.names.parameter, _HOST_PARAMETERS)),
            )
        )
        # What consumers must trust is the host's to say.
        host.add_to_policy(iam.PolicyStatement(actions=["ssm:PutParameter"], resources=bundles))
        self.release.grant_read(host)

    def _grant_rotation(self) -> None:
        chain = self._parameter_arns(self.names.parameter("MEDIA_TLS_FULLCHAIN_B64"))
        bundles = self._parameter_arns(*self.names.consumer_parameters(_BUNDLE))
        secret = [self.material.secret.secret_arn]
        for step, actions, resources in (
            ("StartTlsRotation", ["ssm:GetParameters"], chain),
            ("StartTlsRotation", ["secretsmanager:DescribeSecret"], secret),
            ("StartTlsRotation", ["states:StartExecution"], [self.rotation.machine_arn]),
            ("CheckTls", ["ssm:GetParameters"], [*chain, *bundles]),
            ("CheckTls", ["secretsmanager:GetSecretValue"], secret),
            ("PublishTlsBundle", ["ssm:GetParameters"], [*chain, *bundles]),
            ("PublishTlsBundle", ["ssm:PutParameter"], bundles),
            ("PublishTlsBundle", ["secretsmanager:DescribeSecret"], secret),
            (
                "SettleTlsStores",
                [
                    "ssm:DeleteParameter",
                    "ssm:GetParameters",
                    "ssm:LabelParameterVersion",
                    "ssm:PutParameter",
                ],
                chain,
            ),
            (
                "SettleTlsStores",
                [
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:GetSecretValue",
                    "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage",
                ],
                secret,
            ),
        ):
            self.rotation.functions[step].own_role.add_to_policy(
                iam.PolicyStatement(actions=actions, resources=resources)
            )

    def _parameter_arns(self, *names: str) -> list[str]:
        return [
            self.format_arn(service="ssm", resource="parameter", resource_name=name.removeprefix("/"))
            for name in names
        ]

    def _install(self) -> None:
        if self.host.instance is None:
            return
        installation = self.release.install_on(
            self.host.instance.ref,
            {
                "NAMESPACE": self.names.namespace,
                "MEDIA_CONSUMER_PREFIX": self.names.consumer_prefix,
                "MEDIA_DATABASE_SECRET": self.database.secret.secret_arn,
                "PRIVATE_IP": self.names.address,
                "MEDIA_PORT": str(self.names.port),
                # How full the volume of stored speech is, the clean-up says.
                **self.host.logs.settings("/opt/services/media"),
            },
        )
        # It reads both, and needs the right to.
        installation.node.add_dependency(self.material, self.host)

    def _outputs(self) -> None:
        for name, value, meaning in (
            ("MediaCacheUrl", self.names.base_url, "TTS_MEDIA_CACHE_BASE_URL of consumers."),
            (
                "MediaCacheSecret",
                self.material.secret.secret_arn,
                "The host's own: its key, and MEDIA_UPLOAD_TOKEN.",
            ),
            ("CommandLogs", self.host.commands.log_group_name, "Of what is run on the host."),
        ):
            CfnOutput(self, name, value=value, description=meaning)
        if self.host.instance is not None:
            CfnOutput(self, "MediaCacheInstance", value=self.host.instance.ref, description="The host.")


def _host_sources(sources: Sources) -> HostSources:
    return HostSources(
        packages=sources.build / "media-cache-host",
        shared=sources.shared_layer,
        cache=sources.checkout / "media_edge" / "cache",
        install=(sources.user_data("release_install.sh"), sources.user_data("media_cache_install.sh")),
    )
