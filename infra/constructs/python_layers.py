"""The two layers under every function."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.python_function import NOT_IN_ASSETS
from livedub.errors import MissingPrerequisiteError


class PythonLayers(Construct):
    """`dependencies` is what setup/build_layer.sh built; `shared` is the package livedub, as it lies there."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        dependencies: Path,
        shared: Path,
        contents: str = "Third-party packages of locks/functions.txt.",
    ) -> None:
        super().__init__(scope, construct_id)
        if not (dependencies / "python").is_dir():
            raise MissingPrerequisiteError(
                f"The layer of third-party packages is not built: {dependencies / 'python'} is missing.",
                remedy="Run make build.",
            )
        self.dependencies = self._layer("Dependencies", dependencies, contents, [])
        self.shared = self._layer("Shared", shared, "The package livedub.", NOT_IN_ASSETS)

    @property
    def all(self) -> list[lambda_.LayerVersion]:
        """Both, the one that changes less often first."""
        return [self.dependencies, self.shared]

    def _layer(
        self, construct_id: str, folder: Path, description: str, exclude: list[str]
    ) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            construct_id,
            description=description,
            code=lambda_.Code.from_asset(str(folder), exclude=exclude, ignore_mode=IgnoreMode.GIT),
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_11],
            compatible_architectures=[lambda_.Architecture.X86_64],
        )
