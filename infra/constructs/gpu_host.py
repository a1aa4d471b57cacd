"""One machine with a GPU that serves speech to speech inside the network; its models outlive it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge
from infra.constructs.host_release import Archive, HostRelease
from infra.constructs.managed_host import HostPlace, MachineSpec, ManagedHost
from infra.constructs.network_doors import HTTPS
from infra.sources import Sources
from livedub import __version__


class GpuHost(ManagedHost):
    """Volume, door and machine; `door` lets worker hosts in, and nobody else.

    A machine is replaced in two deployments, as the media-cache host: `gpu_host.present` off, then on again.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        vpc: ec2.IVpc,
        callers: ec2.ISecurityGroup,
        endpoints: ec2.ISecurityGroup,
        secret: secretsmanager.ISecret,
        sources: Sources,
    ) -> None:
        super().__init__(
            scope, construct_id, config=config, service="gpu-host", description="Of the GPU host alone."
        )
        gpu = config.gpu_host
        self.door = ec2.SecurityGroup(
            self, "Door", vpc=vpc, description="The GPU host.", allow_all_outbound=True
        )
        self.door.add_ingress_rule(callers, ec2.Port.tcp(gpu.port), "Worker hosts have fragments dubbed.")
        # The names of these services lead to the endpoints everywhere in the VPC: there is no other way to them.
        ec2.CfnSecurityGroupIngress(
            self,
            "ToEndpoints",
            group_id=endpoints.security_group_id,
            source_security_group_id=self.door.security_group_id,
            ip_protocol="tcp",
            from_port=HTTPS,
            to_port=HTTPS,
            description="AWS services.",
        )
        place = HostPlace(vpc.private_subnets[0], self.door)
        self.models = self.volume(
            "Models",
            place,
            gpu.models_gb,
            survive=config.stateful_resources_survive,
            made_from=gpu.models_from,
        )
        self.release = HostRelease(
            self,
            "Release",
            archives={
                # What brings the journal to CloudWatch Logs, beside the container.
                "PACKAGES": Archive(sources.build / "hosts" / "media"),
                "LIVEDUB": Archive(sources.build / "wheels" / f"livedub-{__version__}-py3-none-any.whl"),
            },
            install=[sources.user_data("gpu_host_install.sh")],
        )
        self.release.grant_read(self.role)
        self.allow([secret.secret_arn], "secretsmanager:GetSecretValue")
        self._allow_registry(gpu.checked_container())
        self.instance = self._machine(place, secret, sources) if gpu.present else None

    def _machine(self, place: HostPlace, secret: secretsmanager.ISecret, sources: Sources) -> ec2.CfnInstance:
        gpu = self._config.gpu_host
        spec = MachineSpec(
            name="gpu",
            image=gpu.checked_image(),
            instance_type=gpu.instance_type,
            root_gb=gpu.root_gb,
            root_device="/dev/sda1",
            user_data=f"#!/usr/bin/env bash\nexport MODELS_VOLUME={self.models.volume_id}\n"
            + "".join(sources.user_data(name).read_text() for name in ("host_first_boot.sh", "gpu_host.sh")),
        )
        machine = self.machine(spec, network=place)
        machine.private_ip_address = gpu.private_ip
        acknowledge(
            machine,
            "EC26",
            "The rule fails on a machine beside a launch template of another; its disks are encrypted.",
        )
        self.attach(machine, {"/dev/sdf": self.models})
        installation = self.release.install_on(
            machine.ref,
            {
                "CONTAINER": gpu.checked_container(),
                "PRIVATE_IP": gpu.private_ip,
                "PORT": str(gpu.port),
                "STS_SECRET": secret.secret_arn,
                **self.logs.settings("/var/lib/livedub-sts"),
            },
        )
        # It reads the secret and the container, and needs the right to.
        installation.node.add_dependency(self.role)
        return machine

    def _allow_registry(self, container: str) -> None:
        """Let the host pull from a registry of AWS; one that is public needs no right."""
        host, _, path = container.partition("/")
        if ".dkr.ecr." not in host:
            return
        account, _, _, region, *_ = host.split(".")
        repository = path.partition("@")[0]
        partition = Stack.of(self).partition
        self.allow(
            [f"arn:{partition}:ecr:{region}:{account}:repository/{repository}"],
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        )
        self.role.add_to_policy(iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]))
        acknowledge(self.role, "IAM5[Resource::*]", "A registry's token names no resource.")
