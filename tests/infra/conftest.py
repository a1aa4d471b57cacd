"""One synthesis per environment and test process: everything below reads what it left."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "1"
# jsii runs node from PATH; the one that make setup installed is of a supported version.
os.environ["PATH"] = f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"


@dataclass(frozen=True)
class Synthesized:
    environment: str
    folder: Path

    @property
    def stack(self) -> str:
        return f"livedub-{self.environment}-control-plane"

    @cached_property
    def template(self) -> dict[str, Any]:
        return json.loads((self.folder / f"{self.stack}.template.json").read_text())

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        resources = self.template["Resources"]
        return {name: resource for name, resource in resources.items() if resource["Type"] == resource_type}

    def named(self, construct_path: str) -> tuple[str, dict[str, Any]]:
        """Logical id and resource of the construct at `construct_path` below the stack."""
        wanted = f"{self.stack}/{construct_path}/Resource"
        found = [
            (name, resource)
            for name, resource in self.template["Resources"].items()
            if resource.get("Metadata", {}).get("aws:cdk:path") == wanted
        ]
        assert len(found) == 1, f"{wanted}: {found}"
        return found[0]

    def asset(self, resource: dict[str, Any]) -> Path:
        """The folder of code a function or layer is made of."""
        return self.folder / resource["Metadata"]["aws:asset:path"]


Synthesize = Callable[[str], Synthesized]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    subprocess.run([str(ROOT / "setup/build_layer.sh")], check=True, timeout=300)
    done: dict[str, Synthesized] = {}

    def synthesized(environment: str) -> Synthesized:
        if environment not in done:
            from infra.app import build_app  # noqa: PLC0415 - starts node, with the PATH from above
            from infra.config import environment_config  # noqa: PLC0415

            folder = tmp_path_factory.mktemp(environment)
            app, _ = build_app(environment_config(environment), outdir=folder)
            app.synth()
            done[environment] = Synthesized(environment, folder)
        return done[environment]

    return synthesized


@pytest.fixture(scope="session")
def local(synthesize: Synthesize) -> Synthesized:
    return synthesize("local")


@pytest.fixture(scope="session")
def prod(synthesize: Synthesize) -> Synthesized:
    return synthesize("prod")
