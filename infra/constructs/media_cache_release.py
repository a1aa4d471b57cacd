"""What runs on a media-cache host: versioned archives in S3, and State Manager to install them."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import IgnoreMode, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.constructs.python_function import NOT_IN_ASSETS
from livedub.errors import MissingPrerequisiteError

_INSTALL_S = 1_500


@dataclass(frozen=True, slots=True)
class HostSources:
    """What is installed.

    Attributes:
        packages: third-party packages, with Caddy in `bin`; setup/build_media_cache_host.sh.
        shared: the folder that holds `python/livedub`.
        cache: the package media_edge.cache, its units and its Caddyfile.
        install: the script that installs the three.
    """

    packages: Path
    shared: Path
    cache: Path
    install: Path


class MediaCacheRelease(Construct):
    """One release; `install_on` has it installed, and the deployment fails where that fails."""

    def __init__(self, scope: Construct, construct_id: str, *, sources: HostSources) -> None:
        super().__init__(scope, construct_id)
        if not (sources.packages / "bin" / "caddy").is_file():
            raise MissingPrerequisiteError(
                f"The packages of the media-cache host are not built: {sources.packages / 'bin/caddy'} is missing.",
                remedy="Run setup/build_media_cache_host.sh.",
            )
        self._archives = {
            "PACKAGES": self._archive("Packages", sources.packages, []),
            "SHARED": self._archive("Shared", sources.shared, NOT_IN_ASSETS),
            "CACHE": self._archive("Cache", sources.cache, NOT_IN_ASSETS),
        }
        self._install = s3_assets.Asset(self, "Install", path=str(sources.install))
        together = "".join(asset.asset_hash for asset in (*self._archives.values(), self._install))
        self.version = hashlib.sha256(together.encode()).hexdigest()[:16]

    def grant_read(self, role: iam.Role) -> None:
        """Let the host read these archives and nothing else in their bucket."""
        stack = Stack.of(self)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                resources=[
                    f"arn:{stack.partition}:s3:::{asset.s3_bucket_name}/{asset.s3_object_key}"
                    for asset in (*self._archives.values(), self._install)
                ],
            )
        )

    def install_on(self, instance_id: str, settings: Mapping[str, str]) -> ssm.CfnAssociation:
        """Install on the machine, now and whenever archives, settings or machine change."""
        region = Stack.of(self).region
        variables = {
            "RELEASE_ID": self.version,
            "AWS_REGION": region,
            **{f"{name}_URL": asset.s3_object_url for name, asset in self._archives.items()},
            **settings,
        }
        return ssm.CfnAssociation(
            self,
            "Installation",
            name="AWS-RunShellScript",
            targets=[ssm.CfnAssociation.TargetProperty(key="InstanceIds", values=[instance_id])],
            parameters={
                "commands": [
                    "set -eu",
                    *(f"export {name}='{value}'" for name, value in variables.items()),
                    "script=$(mktemp)",
                    f'aws s3 cp --only-show-errors --region {region} {self._install.s3_object_url} "$script"',
                    'bash "$script"',
                ],
                "executionTimeout": [str(_INSTALL_S)],
            },
            wait_for_success_timeout_seconds=_INSTALL_S + 300,
        )

    def _archive(self, construct_id: str, folder: Path, exclude: list[str]) -> s3_assets.Asset:
        return s3_assets.Asset(
            self, construct_id, path=str(folder), exclude=exclude, ignore_mode=IgnoreMode.GIT
        )
