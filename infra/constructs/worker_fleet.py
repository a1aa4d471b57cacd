"""The worker hosts: what they are made of, how many there are, and how each comes and goes without a stream noticing."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import (
    Acknowledgment,
    CfnAutoScalingInstanceRefresh,
    CfnAutoScalingInstanceRefreshPreferences,
    CfnUpdatePolicy,
    Stack,
    Validations,
)
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import EnvironmentConfig
from infra.constructs.acknowledged import acknowledge
from infra.constructs.fleet_scaling import FleetScaling
from infra.constructs.host_release import Archive, HostRelease
from infra.constructs.managed_host import MachineSpec, ManagedHost
from infra.sources import Sources
from infra.workers_config import Refresh
from livedub import __version__

READY_HOOK, DRAIN_HOOK = "ready", "drain"
"""Lifecycle hooks: waits until the agent takes streams; waits until it is drained."""

_BOOT_S = 900
"""Packages, release, a loaded worker; a host that needs longer is replaced."""
_BEAT_S = 300
"""Of the hook that waits for the drain; the agent sends a heartbeat every minute, for as long as it takes."""


class WorkerFleet(ManagedHost):
    """An auto-scaling group of hosts that install themselves.

    `group_name` is fixed, so that hosts can be told it before there is a group. A new release, image or setting makes a new
    version of the launch template, with which the deployment replaces hosts: a new one first, and those with streams only
    where the configuration says so.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        subnets: Sequence[ec2.ISubnet],
        door: ec2.ISecurityGroup,
        sources: Sources,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            config=config,
            service="worker-host",
            description="Of the worker hosts alone.",
        )
        self.group_name = group_name(config)
        self.namespace = f"livedub/{config.name}"
        self.release = HostRelease(
            self,
            "Release",
            archives=_archives(config, sources),
            install=[sources.user_data("worker_install.sh")],
        )
        self.release.grant_read(self.role)
        self._first_boot = "".join(
            sources.user_data(name).read_text() for name in ("host_first_boot.sh", "worker.sh")
        )
        self._door = door
        self._subnets = subnets

    def launch(self, settings_digest: str, *, queue: sqs.IQueue) -> None:
        """Make the group.

        Args:
            settings_digest: another one makes another version of the launch template: hosts read settings when they boot.
            queue: where work waits for hosts.
        """
        config = self._config
        script = self.release.boot_script(
            {
                "NAMESPACE": self.namespace,
                "DRAIN_S": str(config.workers.drain_s),
                "SETTINGS_ID": settings_digest,
                **self.logs.settings(),
            }
        )
        spec = MachineSpec(
            name="worker",
            image=config.workers.checked_image(),
            instance_type=config.workers.instance_type,
            root_gb=config.workers.root_gb,
            root_device="/dev/xvda",
            user_data=f"#!/usr/bin/env bash\nexport AWS_REGION={self._region} "
            f"SSM_AGENT_URL={self.release.url_of('SSM_AGENT')}\n{self._first_boot}{script}",
        )
        self.group = self._group(self.launch_template(spec, group=self._door))
        self._allow_lifecycle()
        self.scaling = FleetScaling(
            self, "Scaling", config=config.workers, group=self.group, queue=queue, namespace=self.namespace
        )

    def _group(self, template: ec2.CfnLaunchTemplate) -> autoscaling.CfnAutoScalingGroup:
        workers = self._config.workers
        data = autoscaling.CfnAutoScalingGroup
        group = data(
            self,
            "Group",
            auto_scaling_group_name=self.group_name,
            # No desired capacity: a deployment must not undo what scaling has done.
            min_size=str(workers.min_hosts),
            max_size=str(workers.max_hosts),
            launch_template=data.LaunchTemplateSpecificationProperty(
                launch_template_id=template.ref, version=template.attr_latest_version_number
            ),
            vpc_zone_identifier=[subnet.subnet_id for subnet in self._subnets],
            health_check_type="EC2",
            health_check_grace_period=0,
            default_instance_warmup=60,
            termination_policies=["OldestLaunchTemplate", "OldestInstance"],
            lifecycle_hook_specification_list=[
                data.LifecycleHookSpecificationProperty(
                    lifecycle_hook_name=READY_HOOK,
                    lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
                    heartbeat_timeout=_BOOT_S,
                    default_result="ABANDON",
                ),
                data.LifecycleHookSpecificationProperty(
                    lifecycle_hook_name=DRAIN_HOOK,
                    lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
                    heartbeat_timeout=_BEAT_S,
                    default_result="CONTINUE",
                ),
            ],
            metrics_collection=[
                data.MetricsCollectionProperty(
                    granularity="1Minute",
                    metrics=["GroupDesiredCapacity", "GroupInServiceInstances", "GroupMaxSize"],
                )
            ],
        )
        group.cfn_options.update_policy = _refresh(workers.refresh)
        acknowledge(
            group, "AS3", "Alarms watch what matters of it: streams that wait, hosts that are missing."
        )
        Validations.of(template).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::W9010",
                reason="An image that changes by itself would be another host at some launch or other.",
            )
        )
        return group

    def _allow_lifecycle(self) -> None:
        stack = Stack.of(self)
        arn = (
            f"arn:{stack.partition}:autoscaling:{stack.region}:{stack.account}:autoScalingGroup:*:"
            f"autoScalingGroupName/{self.group_name}"
        )
        self.allow(
            [arn],
            "autoscaling:SetInstanceProtection",
            "autoscaling:RecordLifecycleActionHeartbeat",
            "autoscaling:CompleteLifecycleAction",
        )
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": self.namespace}},
            )
        )


def _refresh(which: Refresh) -> CfnUpdatePolicy:
    """Replace hosts that are not of the newest template, a new one first.

    A host with streams is protected from scale-in. Where it is not left alone, it drains as at any other end.
    """
    return CfnUpdatePolicy(
        auto_scaling_instance_refresh=CfnAutoScalingInstanceRefresh(
            strategy="Rolling",
            preferences=CfnAutoScalingInstanceRefreshPreferences(
                min_healthy_percentage=100,
                max_healthy_percentage=200,
                scale_in_protected_instances="Refresh" if which == "all" else "Ignore",
                skip_matching=True,
            ),
        )
    )


def group_name(config: EnvironmentConfig) -> str:
    """Of the auto-scaling group of an environment."""
    return f"livedub-{config.name}-workers"


def _archives(config: EnvironmentConfig, sources: Sources) -> dict[str, Archive]:
    """By the names that the install script knows them by; what the image brings is left out."""
    brings = config.workers.image_brings
    archives = {
        "WHEEL": Archive(sources.build / "wheels" / f"livedub-{__version__}-py3-none-any.whl"),
        "PACKAGES": Archive(sources.build / "hosts" / "worker"),
    }
    if "packages" not in brings:
        archives["DEBIAN"] = Archive(_debian_packages(sources))
    if "ssm-agent" not in brings:
        archives["SSM_AGENT"] = Archive(
            sources.build / "hosts" / "amazon-ssm-agent.deb",
            remedy="Run make build where locks/ssm-agent.txt can be fetched, or take an image that brings it: "
            "-c worker_image_brings=ssm-agent.",
        )
    return archives


def _debian_packages(sources: Sources) -> Path:
    return sources.checkout / "setup" / "debian" / "worker.txt"
