"""What runs on a host: versioned archives in S3, and the two ways they get installed."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
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
_READABLE_S = 300


@dataclass(frozen=True, slots=True)
class Archive:
    """One part of a release: a folder, which becomes a .zip, or a file, which stays as it is.

    Attributes:
        path: what it is.
        needs: a path in the folder without which it is not built; None: the folder itself.
        remedy: what builds it.
        exclude: left out, as in .gitignore.
    """

    path: Path
    needs: str = "."
    remedy: str = "Run make build."
    exclude: Sequence[str] = ()

    @classmethod
    def of_sources(cls, path: Path) -> Archive:
        """A folder of this checkout."""
        return cls(path, exclude=tuple(NOT_IN_ASSETS))

    def checked(self) -> Path:
        """The path.

        Raises:
            MissingPrerequisiteError: it is not there.
        """
        wanted = self.path / self.needs
        if not wanted.exists():
            raise MissingPrerequisiteError(
                f"What a host installs is not built: {wanted} is missing.", remedy=self.remedy
            )
        return self.path


class HostRelease(Construct):
    """One release: archives by name, and the script that installs them: the parts of `install`, one below the other.

    The script finds `<NAME>_URL` (s3://...) of each archive, RELEASE_ID and AWS_REGION beside the settings it is given.
    What runs it needs `aws` on the host, and the right of `grant_read`.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, archives: Mapping[str, Archive], install: Sequence[Path]
    ) -> None:
        super().__init__(scope, construct_id)
        self._archives = {name: self._archive(name, archive) for name, archive in archives.items()}
        self._install = self._script("Install", install)
        together = "".join(asset.asset_hash for asset in self._assets)
        self.version = hashlib.sha256(together.encode()).hexdigest()[:16]

    def url_of(self, name: str) -> str:
        """Where an archive lies (s3://...); empty where the release has none of that name."""
        archive = self._archives.get(name)
        return archive.s3_object_url if archive else ""

    def grant_read(self, role: iam.Role) -> None:
        """Let the host read these archives and nothing else in their bucket."""
        stack = Stack.of(self)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                resources=[
                    f"arn:{stack.partition}:s3:::{asset.s3_bucket_name}/{asset.s3_object_key}"
                    for asset in self._assets
                ],
            )
        )

    def install_on(self, instance_id: str, settings: Mapping[str, str]) -> ssm.CfnAssociation:
        """Install on one machine, now and whenever archives, settings or machine change.

        The deployment waits for it, and fails where it fails.
        """
        return ssm.CfnAssociation(
            self,
            "Installation",
            name="AWS-RunShellScript",
            targets=[ssm.CfnAssociation.TargetProperty(key="InstanceIds", values=[instance_id])],
            parameters={"commands": self._commands(settings), "executionTimeout": [str(_INSTALL_S)]},
            wait_for_success_timeout_seconds=_INSTALL_S + 300,
        )

    def boot_script(self, settings: Mapping[str, str]) -> str:
        """The same as a script: for machines that come and go, each of which installs itself at its first boot."""
        return "\n".join(["#!/usr/bin/env bash", *self._commands(settings), ""])

    @property
    def _assets(self) -> tuple[s3_assets.Asset, ...]:
        return (*self._archives.values(), self._install)

    def _commands(self, settings: Mapping[str, str]) -> list[str]:
        region = Stack.of(self).region
        variables = {
            "RELEASE_ID": self.version,
            "AWS_REGION": region,
            **{f"{name}_URL": asset.s3_object_url for name, asset in self._archives.items()},
            **settings,
        }
        until = f'until aws s3 cp --only-show-errors --region {region} {self._install.s3_object_url} "$1"; do sleep 5; done'
        return [
            "set -eu",
            *(f"export {name}='{value}'" for name, value in variables.items()),
            "script=$(mktemp)",
            # What a new role may do is known everywhere only after a while.
            f"timeout {_READABLE_S} bash -c '{until}' fetch \"$script\"",
            'bash "$script"',
        ]

    def _script(self, construct_id: str, parts: Sequence[Path]) -> s3_assets.Asset:
        """One file of all `parts`. CDK copies it into the assembly at once, so it need not stay where it is made."""
        with tempfile.TemporaryDirectory() as folder:
            together = Path(folder) / parts[-1].name
            together.write_text("".join(part.read_text(encoding="utf-8") for part in parts), encoding="utf-8")
            return s3_assets.Asset(self, construct_id, path=str(together))

    def _archive(self, name: str, archive: Archive) -> s3_assets.Asset:
        return s3_assets.Asset(
            self,
            name.title().replace("_", ""),
            path=str(archive.checked()),
            exclude=list(archive.exclude),
            ignore_mode=IgnoreMode.GIT,
        )
