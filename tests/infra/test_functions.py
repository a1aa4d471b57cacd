"""Each function as it would be deployed: code, handler, runtime, layers, environment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk.aws_logs import RetentionDays

from infra.constructs.python_function import (
    FunctionSetup,
    FunctionSpec,
    PythonFunction,
    folder_name,
    required_variables,
)
from infra.stacks.control_plane import FUNCTIONS
from livedub.errors import ConfigurationError
from tests.infra.conftest import ROOT, Part, Synthesized

EVERY_FUNCTION = pytest.mark.parametrize("function", sorted(FUNCTIONS))
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}
POLICY_OF_LOCAL = {"LIVEDUB_HEARTBEAT_S", "LIVEDUB_REPORT_STALE_S", "LIVEDUB_UNKNOWN_STREAMS"}


@pytest.fixture
def control(local: Synthesized) -> Part:
    return local.part("control-plane")


def layer_folders(synthesized: Part, function: str) -> list[Path]:
    _, resource = synthesized.named(function)
    layers = [layer["Ref"] for layer in resource["Properties"]["Layers"]]
    return [synthesized.asset(synthesized.resources[layer]) for layer in layers]


@EVERY_FUNCTION
def test_the_code_is_the_folder_and_nothing_else(control: Part, function: str):
    _, resource = control.named(function)
    asset = control.asset(resource)
    source = ROOT / "functions" / folder_name(function)
    expected = {
        str(path.relative_to(source)): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".md"}
    }
    assert "handler.py" in expected
    assert {
        str(path.relative_to(asset)): path.read_bytes() for path in asset.rglob("*") if path.is_file()
    } == expected


@EVERY_FUNCTION
def test_handler_runtime_and_processor(control: Part, function: str):
    properties = control.named(function)[1]["Properties"]
    assert properties["Handler"] == "handler.handler"
    assert properties["Runtime"] == "python3.11"
    assert properties["Architectures"] == ["x86_64"]
    assert properties["TracingConfig"] == {"Mode": "Active"}


@EVERY_FUNCTION
def test_layers_are_dependencies_and_the_shared_package(control: Part, function: str):
    dependencies, shared = layer_folders(control, function)
    assert (dependencies / "python/pydantic/__init__.py").is_file()
    assert (dependencies / "python/pydantic_settings/__init__.py").is_file()
    assert (dependencies / "python/aws_lambda_powertools/__init__.py").is_file()
    assert (shared / "python/livedub/supervision/lease.py").is_file()


@EVERY_FUNCTION
def test_the_handler_loads_from_code_and_layers_alone(control: Part, function: str):
    paths = [
        control.asset(control.named(function)[1]),
        *(folder / "python" for folder in layer_folders(control, function)),
    ]
    code = (
        "import json, os, sys; sys.dont_write_bytecode = True\n"
        "sys.path[:0] = json.loads(sys.argv[1])\n"
        "import handler\n"
        "assert callable(handler.handler)"
    )
    # -I -S: neither this checkout nor what the virtual environment holds.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, json.dumps([str(path) for path in paths])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"LAMBDA_TASK_ROOT": "/var/task", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"},
    )
    assert done.returncode == 0, done.stderr


@EVERY_FUNCTION
def test_the_environment_is_what_its_settings_require(control: Part, function: str):
    variables = control.named(function)[1]["Properties"]["Environment"]["Variables"]
    assert set(variables) == required_variables(function) | POLICY_OF_LOCAL | POWERTOOLS
    assert variables["POWERTOOLS_SERVICE_NAME"] == folder_name(function)
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "livedub/local"
    assert variables["LIVEDUB_HEARTBEAT_S"] == "6"


def test_the_policy_of_prod_is_the_default(prod: Synthesized):
    variables = prod.part("control-plane").named("OnPublish")[1]["Properties"]["Environment"]["Variables"]
    assert set(variables) == required_variables("OnPublish") | POWERTOOLS


@EVERY_FUNCTION
def test_a_call_ends_before_its_caller_gives_up(control: Part, function: str):
    timeout_s = control.named(function)[1]["Properties"]["Timeout"]
    callers_patience_s = 60 if function in {"AcquireLease", "ClassifyOutcome", "ReleaseLease"} else 30
    assert timeout_s <= callers_patience_s


@EVERY_FUNCTION
def test_logs_go_to_a_group_of_its_own_that_forgets(control: Part, function: str):
    log_group, resource = control.named(f"{function}Logs")
    assert control.named(function)[1]["Properties"]["LoggingConfig"] == {"LogGroup": {"Ref": log_group}}
    assert resource["Properties"]["RetentionInDays"] == 1


def test_only_prod_reserves_concurrency(local: Synthesized, prod: Synthesized):
    def reserved(environment: Synthesized) -> dict[str, int | None]:
        return {
            function: environment.part("control-plane")
            .properties(function)
            .get("ReservedConcurrentExecutions")
            for function in FUNCTIONS
        }

    assert set(reserved(local).values()) == {None}
    assert reserved(prod)["AuthorizeMedia"] == 50
    assert reserved(prod)["StreamApi"] is None


def test_the_shared_layer_is_source_alone(control: Part):
    _, shared = layer_folders(control, "OnPublish")
    assert {path.name for path in shared.iterdir()} == {"python"}
    assert {path.name for path in (shared / "python").iterdir()} == {"livedub"}
    assert not list(shared.rglob("__pycache__"))
    assert not list(shared.rglob("*.pyc"))


def test_the_dependencies_are_those_of_the_lock_without_what_lambda_brings(control: Part):
    dependencies, _ = layer_folders(control, "OnPublish")
    found = {path.name.split("-")[0].replace("_", "-") for path in dependencies.glob("python/*.dist-info")}
    locked = {
        line.split("==")[0]
        for line in (ROOT / "locks/functions.txt").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    assert found == locked
    assert not {"boto3", "botocore"} & found


def test_a_function_without_a_settings_class_is_refused():
    with pytest.raises(ConfigurationError, match=r"OnNothing has no settings class.*'on_nothing'"):
        required_variables("OnNothing")


def test_a_function_without_a_folder_is_refused(tmp_path: Path):
    setup = FunctionSetup(
        source=tmp_path,
        layers=[],
        log_retention=RetentionDays.ONE_DAY,
        values={},
        policy={},
        log_level="INFO",
        metrics_namespace="livedub/test",
    )
    with pytest.raises(ConfigurationError, match=r"OnPublish has no .*on_publish/handler\.py"):
        PythonFunction(Stack(App(), "Test"), "OnPublish", spec=FunctionSpec("Test."), setup=setup)


def test_a_required_variable_without_a_value_is_refused():
    setup = FunctionSetup(
        source=ROOT / "functions",
        layers=[],
        log_retention=RetentionDays.ONE_DAY,
        values={"LIVEDUB_STREAMS_TABLE": "streams"},
        policy={},
        log_level="INFO",
        metrics_namespace="livedub/test",
    )
    with pytest.raises(ConfigurationError, match=r"OnPublish requires .*LIVEDUB_STATE_MACHINE_ARN"):
        PythonFunction(Stack(App(), "Test"), "OnPublish", spec=FunctionSpec("Test."), setup=setup)
