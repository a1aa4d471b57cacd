from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from local.aws.function_spec import FunctionSpec, InvokeResult

SPEC = FunctionSpec(
    "hooks",
    "handler.handler",
    Path("/code"),
    layer_folders=(Path("/layers/a"), Path("/layers/b")),
    environment={"MINE": "1"},
    endpoint_url="http://localhost:5601",
)


def test_nothing_of_this_machine_gets_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("SOME_SECRET", "real")
    variables = SPEC.variables(Path("/home"))
    assert "real" not in variables.values()
    assert "SOME_SECRET" not in variables


def test_later_layers_come_first_and_all_after_the_code():
    assert SPEC.variables(Path("/home"))["PYTHONPATH"] == "/code:/layers/b/python:/layers/a/python"


def test_the_functions_own_variables_are_there_but_cannot_replace_reserved_ones():
    variables = replace(SPEC, environment={"MINE": "1", "AWS_REGION": "eu-west-1"}).variables(Path("/home"))
    assert variables["MINE"] == "1"
    assert variables["AWS_REGION"] == "us-east-1"
    assert variables["AWS_ENDPOINT_URL"] == "http://localhost:5601"


def test_no_endpoint_no_variable():
    assert "AWS_ENDPOINT_URL" not in replace(SPEC, endpoint_url="").variables(Path("/home"))


@pytest.mark.parametrize(
    "change",
    [
        {"code_folder": Path("/other")},
        {"environment": {"MINE": "2"}},
        {"layer_folders": ()},
        {"handler": "x.y"},
        {"timeout_s": 9},
        {"memory_mb": 512},
    ],
)
def test_any_change_makes_another_version(change: dict[str, object]):
    assert replace(SPEC, **change).digest != SPEC.digest


def test_its_values_stay_out_of_the_repr():
    assert "MINE" not in repr(SPEC)


def test_a_failure_looks_as_lambda_reports_it():
    result = InvokeResult.failure("Runtime.ExitError", "gone")
    assert result.payload == b'{"errorType": "Runtime.ExitError", "errorMessage": "gone"}'
    assert result.failed
    assert not result.reusable
