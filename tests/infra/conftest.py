"""One synthesis per environment and test run: everything below reads what it left."""

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from livedub import __version__
from livedub.errors import LivedubError
from livedub.file_lock import exclusive

if TYPE_CHECKING:
    from infra.config import EnvironmentConfig
    from infra.sources import Sources

ROOT = Path(__file__).parents[2]
os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "1"
# jsii runs node from PATH; the one that make setup installed is of a supported version.
os.environ["PATH"] = f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"

FROM_THE_DEPLOYER = {
    "media_cache_image": "ami-0123456789abcdef0",
    "media_image": "ami-0123456789abcdef1",
    "worker_image": "ami-0123456789abcdef2",
    "runpod_endpoint_id": "abcdef123456",
}
"""Context that nobody can synthesize without."""

BUILT = (
    "layers/library/python/av.py",
    "layers/media-cache/python/psycopg.py",
    "media-cache-host/bin/caddy",
    "hosts/media/httpx.py",
    "hosts/worker/av.py",
    "hosts/mediamtx.tar.gz",
    "hosts/amazon-ssm-agent.deb",
    f"wheels/livedub-{__version__}-py3-none-any.whl",
)
"""What make build makes, as far as a template shows it: a digest. The layer of the control plane is the real one."""


@dataclass(frozen=True)
class Part:
    """One synthesized stack."""

    name: str
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.template.json"

    @cached_property
    def template(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        return self.template["Resources"]

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Those that have a name for people; the others are what stacks import from each other."""
        return {
            name: output
            for name, output in self.template.get("Outputs", {}).items()
            if not name.startswith(("ExportsOutput", "PublishOutput"))
        }

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        return {
            name: resource for name, resource in self.resources.items() if resource["Type"] == resource_type
        }

    def named(self, construct_path: str) -> tuple[str, dict[str, Any]]:
        """Logical id and resource of the construct at `construct_path` below the stack."""
        wanted = f"{self.name}/{construct_path}/Resource"
        found = [
            (name, resource)
            for name, resource in self.resources.items()
            if resource.get("Metadata", {}).get("aws:cdk:path") == wanted
        ]
        assert len(found) == 1, f"{wanted}: {found}"
        return found[0]

    def properties(self, construct_path: str) -> dict[str, Any]:
        return self.named(construct_path)[1]["Properties"]

    def asset(self, resource: dict[str, Any]) -> Path:
        """The folder of code a function or layer is made of."""
        return self.folder / resource["Metadata"]["aws:asset:path"]

    def statements(self, role_path: str) -> list[dict[str, Any]]:
        """What a role may do by the policies of its own stack."""
        role_id, _ = self.named(role_path)
        return [
            statement
            for policy in self.of_type("AWS::IAM::Policy").values()
            if {"Ref": role_id} in policy["Properties"]["Roles"]
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]


@dataclass(frozen=True)
class Synthesized:
    """Every stack of one environment."""

    environment: str
    folder: Path

    @cached_property
    def parts(self) -> dict[str, Part]:
        """By the last words of the stacks' names, such as `media-cache`; in the order of deployment."""
        prefix = f"livedub-{self.environment}-"
        found = [
            name
            for name, artifact in self.manifest["artifacts"].items()
            if artifact["type"] == "aws:cloudformation:stack"
        ]
        assert all(name.startswith(prefix) for name in found)
        return {name.removeprefix(prefix): Part(name, self.folder) for name in found}

    def part(self, name: str) -> Part:
        return self.parts[name]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text())

    @cached_property
    def exports(self) -> dict[str, tuple[str, Any]]:
        """By the name under which it is exported: the part that does, and what it is there."""
        return {
            output["Export"]["Name"]: (part_name, output["Value"])
            for part_name, part in self.parts.items()
            for output in part.template.get("Outputs", {}).values()
            if "Export" in output
        }

    def origin(self, part: str, value: Any) -> tuple[str, Any]:
        """The part in which `value` of a template is made, and what it is there, through an import if it is one."""
        if isinstance(value, dict) and "Fn::ImportValue" in value:
            return self.exports[value["Fn::ImportValue"]]
        if isinstance(value, dict) and "Fn::GetStackOutput" in value:
            reference = value["Fn::GetStackOutput"]
            of = reference["StackName"].removeprefix(f"livedub-{self.environment}-")
            return of, self.parts[of].template["Outputs"][reference["OutputName"]]["Value"]
        return part, value


Synthesize = Callable[[str], Synthesized]
SynthesizeOnce = Callable[[str, Callable[[], "EnvironmentConfig"]], Synthesized]
"""By a name of its own and how its configuration is made."""


def synthesize_into(folder: Path, config: "EnvironmentConfig", sources: "Sources") -> Synthesized:
    """Every stack of `config`; raises as the app does."""
    from infra.app import build_app  # noqa: PLC0415 - starts node, with the PATH from above

    build_app(config, outdir=folder, sources=sources).app.synth()
    return Synthesized(config.name, folder)


def given(environment: str, **context: str) -> "EnvironmentConfig":
    """The environment with what its deployer must give, and `context`."""
    from infra.config import environment_config  # noqa: PLC0415
    from infra.overrides import overridden  # noqa: PLC0415

    return overridden(environment_config(environment), {**FROM_THE_DEPLOYER, **context})


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of a test run (pytest-xdist), or for the only one."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "synthesized"
    folder.mkdir(exist_ok=True)
    return folder


def one_at_a_time(folder: Path) -> AbstractContextManager[None]:
    refusal = LivedubError(f"{folder} is being synthesized for minutes.")
    return exclusive(folder.with_suffix(".lock"), patience_s=300, refusal=refusal)


def built(build: Path) -> "Sources":
    """This checkout, and artefacts in `build` that are there without having been built."""
    from infra.sources import Sources  # noqa: PLC0415

    subprocess.run([str(ROOT / "setup/build_layer.sh")], check=True, timeout=300)
    for name in BUILT:
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).touch()
    (build / "layers/dependencies").symlink_to(ROOT / "build/layers/dependencies")
    return Sources.of_checkout(build)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> "Sources":
    return built(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def synthesize_once(tmp_path_factory: pytest.TempPathFactory, sources: "Sources") -> SynthesizeOnce:
    done: dict[str, Synthesized] = {}

    def synthesized(name: str, config: Callable[[], "EnvironmentConfig"]) -> Synthesized:
        if name not in done:
            folder = shared_folder(tmp_path_factory) / name
            chosen = config()
            with one_at_a_time(folder):
                if not (folder / "manifest.json").is_file():
                    synthesize_into(folder, chosen, sources)
            done[name] = Synthesized(chosen.name, folder)
        return done[name]

    return synthesized


@pytest.fixture(scope="session")
def synthesize(synthesize_once: SynthesizeOnce) -> Synthesize:
    return lambda environment: synthesize_once(environment, lambda: given(environment))


@pytest.fixture(scope="session")
def local(synthesize: Synthesize) -> Synthesized:
    return synthesize("local")


@pytest.fixture(scope="session")
def prod(synthesize: Synthesize) -> Synthesized:
    return synthesize("prod")
