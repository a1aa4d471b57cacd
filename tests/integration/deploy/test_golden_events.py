"""`livedub invoke` with each golden event: the deployed artefact takes what its caller sends."""

import asyncio
import json
from pathlib import Path

import pytest

from local.aws.invoke import invoke
from tests.integration.deploy.conftest import ROOT, DeployedStack

pytestmark = pytest.mark.slow

EVENTS = sorted((ROOT / "tests/events").glob("*.json"))
OF_OTHER_STACKS = {
    "media_cache_cleanup",
    "library_api",
    "media_job_route",
    "media_job_run",
    "media_job_end",
    "media_job_sweep",
    "check_tls",
    "publish_tls_bundle",
    "settle_tls_stores",
    "start_tls_rotation",
    "warm_sts",
}
"""Functions of other stacks than the control plane's."""
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))


def function_folder(event: Path) -> str:
    """`on_publish_base64` is an event of the function in the folder `on_publish`."""
    return max((name for name in FUNCTIONS if event.stem.startswith(name)), key=len)


def function_of(event: Path) -> str:
    return "".join(word.capitalize() for word in function_folder(event).split("_"))


def test_every_function_has_a_golden_event():
    assert {function_of(event) for event in EVENTS} == {
        "".join(word.capitalize() for word in folder.split("_")) for folder in FUNCTIONS
    }


@pytest.mark.parametrize(
    "event",
    [event for event in EVENTS if function_folder(event) not in OF_OTHER_STACKS],
    ids=lambda event: event.stem,
)
def test_the_artefact_answers_its_golden_event(stack: DeployedStack, event: Path):
    is_request = "rawPath" in json.loads(event.read_text())
    result = asyncio.run(invoke(function_of(event), event, on=stack.endpoint, signed=is_request))
    assert not result.failed, f"{result.payload!r}\n{result.log}"
    answer = json.loads(result.payload)
    if is_request:
        # Nobody created its stream in some order of the tests: unknown is an answer, unsigned or broken is not.
        assert answer["statusCode"] in {200, 201, 202, 403, 404, 409}, answer


def test_a_hook_as_it_was_recorded_is_stale_without_a_new_signature(stack: DeployedStack):
    event = ROOT / "tests/events/on_publish.json"
    result = asyncio.run(invoke("OnPublish", event, on=stack.endpoint, signed=False))
    answer = json.loads(result.payload)
    assert answer["statusCode"] == 401
    assert json.loads(answer["body"])["code"] in {"STALE_SIGNATURE", "BAD_SIGNATURE"}
