"""The media host of one environment: MediaMTX, where publishers send to and players read from, and its relay."""

from __future__ import annotations

from aws_cdk import CfnOutput
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge_below
from infra.constructs.host_release import Archive, HostRelease
from infra.constructs.managed_host import HostPlace
from infra.constructs.media_host import MediaHost
from infra.environment_stack import EnvironmentStack
from infra.sources import Sources
from infra.stacks.control_plane import ControlPlaneStack
from infra.stacks.network import NetworkStack
from infra.stacks.state import StateStack
from livedub import __version__

_RECORDED = "/live/*"
"""What the host writes in the library's bucket `in`."""


class MediaStack(EnvironmentStack):
    """Wires host and release together and grants rights."""

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
        super().__init__(scope, "media", config=config, holds="media host")
        self.release = HostRelease(
            self,
            "Release",
            archives=_archives(config, sources),
            install=[sources.user_data("release_install.sh"), sources.user_data("media_install.sh")],
        )
        self.host = MediaHost(
            self,
            "Host",
            config=config,
            place=HostPlace(network.vpc.public_subnets[0], network.doors.media),
            first_boot=[sources.user_data("host_first_boot.sh"), sources.user_data("media.sh")],
            ssm_agent_url=self.release.url_of("SSM_AGENT"),
        )
        self._grant(state)
        self.installation = self._install(state, control_plane)
        self._outputs()

    def _grant(self, state: StateStack) -> None:
        host, bucket = self.host, state.buckets.media_in
        host.allow([state.access.relay_key.secret_arn], "secretsmanager:GetSecretValue")
        # It writes and reads nothing back. Large files go in parts, which a new try takes up.
        host.allow([f"{bucket.bucket_arn}{_RECORDED}"], "s3:ListMultipartUploadParts", "s3:PutObject")
        host.allow([bucket.bucket_arn], "s3:ListBucketMultipartUploads")
        acknowledge_below(
            host.role, state, bucket.bucket_arn, _RECORDED, "Recordings, named by their streams."
        )
        self.release.grant_read(host.role)

    def _install(self, state: StateStack, control_plane: ControlPlaneStack) -> ssm.CfnAssociation | None:
        if self.host.instance is None:
            return None
        media, network = self.config.media, self.config.network
        installation = self.release.install_on(
            self.host.instance.ref,
            {
                "API_NETWORKS": network.cidr,
                "API_URL": control_plane.control_api.api.api_endpoint,
                "MEDIA_BUCKET_IN": state.buckets.media_in.bucket_name,
                # Without an archive the image has it.
                "MEDIAMTX_URL": self.release.url_of("MEDIAMTX"),
                "PRIVATE_IP": media.address_in(network),
                "RECORD": "yes" if media.record else "no",
                "RELAY_ID": f"livedub-{self.config.name}-media",
                "RELAY_KEY_SECRET": state.access.relay_key.secret_arn,
                **self.host.logs.settings("/var/lib/livedub-recordings"),
            },
        )
        # It needs the rights.
        installation.node.add_dependency(self.host)
        return installation

    def _outputs(self) -> None:
        address = self.host.address.attr_public_ip
        for name, value, meaning in (
            ("MediaAddress", address, "The media host, from outside."),
            ("PublishUrl", f"rtmp://{address}/live", "Server of publishers; their key is STREAM/in?key=..."),
            ("MediaCommandLogs", self.host.commands.log_group_name, "Of what is run on the host."),
        ):
            CfnOutput(self, name, value=value, description=meaning)
        if self.host.instance is None or self.installation is None:
            return
        CfnOutput(self, "MediaInstance", value=self.host.instance.ref, description="The host.")
        CfnOutput(
            self,
            "MediaInstallation",
            value=self.installation.ref,
            description="Installs again, with the relays' key as it is then: aws ssm start-associations-once.",
        )


def _archives(config: EnvironmentConfig, sources: Sources) -> dict[str, Archive]:
    archives = {
        "PACKAGES": Archive(sources.build / "hosts" / "media"),
        "LIVEDUB": Archive(sources.build / "wheels" / f"livedub-{__version__}-py3-none-any.whl"),
    }
    pinned = {
        "mediamtx": ("MEDIAMTX", Archive(sources.build / "hosts" / "mediamtx.tar.gz")),
        "ssm-agent": ("SSM_AGENT", Archive(sources.build / "hosts" / "amazon-ssm-agent.deb")),
    }
    for brought, (name, archive) in pinned.items():
        if brought not in config.media.image_brings:
            archives[name] = archive
    return archives
