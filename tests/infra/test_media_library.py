"""The library's own app: a stack without and one with a network for its functions."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from livedub.errors import ConfigurationError
from tests.infra.conftest import ROOT

PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
DEFINITION = ROOT / "infra/statemachines/media_job.asl.json"
OBJECTS = {
    "LibraryApi": {
        "in": {"Get", "Put", "Delete", "AbortMultipartUpload", "ListMultipartUploadParts"},
        "out": {"Get"},
    },
    "MediaJobRun": {
        "in": {"Get"},
        "out": {"Get", "Put", "Delete", "AbortMultipartUpload", "ListMultipartUploadParts"},
    },
    "MediaJobRoute": {"in": {"Get"}},
    "MediaJobEnd": {"out": {"Delete"}},
    "MediaJobSweep": {},
}


@dataclass(frozen=True)
class Library:
    folder: Path
    name: str

    @cached_property
    def resources(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())["Resources"]

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.template.json"

    def of_type(self, kind: str) -> dict[str, Any]:
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}

    def statements(self, function: str) -> list[dict[str, Any]]:
        found = [
            policy["PolicyDocument"]["Statement"]
            for name, policy in self.of_type("AWS::IAM::Policy").items()
            if name.startswith(f"{function}Role")
        ]
        assert len(found) == 1
        return found[0]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Library]:
    from infra.config import environment_config  # noqa: PLC0415 - starts node, with conftest's PATH
    from infra.library_app import DatabaseNetwork, build_library_app, stack_name  # noqa: PLC0415

    # The template holds the digest of the layer and nothing else of it.
    layer = tmp_path_factory.mktemp("layer")
    (layer / "python").mkdir()
    (layer / "python" / "av.py").touch()
    network = DatabaseNetwork(
        "vpc-0123456789abcdef0",
        ("us-east-1a", "us-east-1b"),
        ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
        "sg-0123456789abcdef0",
    )
    made: dict[str, Library] = {}
    for environment, where in (("dev", None), ("prod", network)):
        folder = tmp_path_factory.mktemp(f"library-{environment}")
        config = environment_config(environment)
        app, _ = build_library_app(config, outdir=folder, media_layer=layer, network=where)
        app.synth()
        made[environment] = Library(folder, stack_name(environment))
    return made


@pytest.fixture(params=["dev", "prod"])
def library(request: pytest.FixtureRequest, libraries: dict[str, Library]) -> Library:
    return libraries[request.param]


def test_cfn_lint_finds_nothing(libraries: dict[str, Library]):
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks=W3005", "--"]
    templates = [str(each.path) for each in libraries.values()]
    done = subprocess.run([*command, *templates], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_cdk_nag_found_nothing_that_is_not_accepted(library: Library):
    report = json.loads((library.folder / "validation-report.json").read_text())
    assert [(plugin["pluginName"], plugin["conclusion"]) for plugin in report["pluginReports"]] == [
        ("AwsSolutions", "success")
    ]


def test_every_placeholder_of_the_definition_has_a_value(library: Library):
    (machine,) = library.of_type("AWS::StepFunctions::StateMachine").values()
    assert machine["StateMachineType"] == "STANDARD"
    assert set(machine["DefinitionSubstitutions"]) == set(PLACEHOLDER.findall(DEFINITION.read_text()))


@pytest.mark.parametrize("function", sorted(OBJECTS))
def test_each_function_reads_and_writes_what_it_must_and_no_more(library: Library, function: str):
    found: dict[str, set[str]] = {}
    for statement in library.statements(function):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        objects = {
            action.removeprefix("s3:").removesuffix("Object")
            for action in actions
            if action.startswith("s3:")
        }
        if objects and re.search(r"/[.a-z/]*\*", json.dumps(statement["Resource"])):
            found["in" if '"MediaIn' in json.dumps(statement["Resource"]) else "out"] = objects
    assert found == OBJECTS[function]


def test_buckets_are_private_encrypted_and_reached_by_tls_alone(library: Library):
    buckets = library.of_type("AWS::S3::Bucket")
    assert len(buckets) == 2
    for bucket in buckets.values():
        assert "BucketName" not in bucket
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    policies = json.dumps(list(library.of_type("AWS::S3::BucketPolicy").values()))
    assert policies.count('"aws:SecureTransport": "false"') == 2


def test_files_and_secrets_of_prod_survive_their_stack(libraries: dict[str, Library]):
    kept = {"AWS::S3::Bucket", "AWS::SecretsManager::Secret"}
    for environment, policy in (("prod", "Retain"), ("dev", "Delete")):
        found = [each for each in libraries[environment].resources.values() if each["Type"] in kept]
        assert len(found) == 4
        assert {each["DeletionPolicy"] for each in found} == {policy}


def test_functions_know_names_of_secrets_and_not_the_secrets(library: Library):
    functions = library.of_type("AWS::Lambda::Function")
    for name in OBJECTS:
        (found,) = [each for key, each in functions.items() if key.startswith(name)]
        variables = found["Environment"]["Variables"]
        assert variables["LIVEDUB_EXECUTOR"] == "stepfunctions"
        assert not {"DATABASE_URL", "LIBRARY_CALLBACK_SECRET", "LIBRARY_API_TOKEN"} & set(variables)
        assert len(found["Layers"]) == 2


def test_functions_are_in_the_databases_network_where_one_is_given(libraries: dict[str, Library]):
    for environment, inside in (("prod", True), ("dev", False)):
        functions = libraries[environment].of_type("AWS::Lambda::Function").values()
        assert {"VpcConfig" in each for each in functions} == {inside}


def test_a_network_that_lacks_something_is_one_line():
    from infra.library_app import network_of  # noqa: PLC0415 - starts node

    assert network_of(None) is None
    with pytest.raises(ConfigurationError, match="security_group_id"):
        network_of('{"vpc_id": "vpc-1", "availability_zones": [], "private_subnet_ids": []}')
