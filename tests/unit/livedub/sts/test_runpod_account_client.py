"""How the account API's refusals and silences are told."""

from collections.abc import Callable

import httpx
import pytest

from livedub.errors import ConfigurationError
from livedub.sts.runpod_account_client import (
    RunpodAccount,
    RunpodAccountRefusedError,
    RunpodAccountUnavailableError,
)
from tests.unit.livedub.sts.runpod_account_rig import account_rig

KEY = "rpa_very_secret"


def account(answer: Callable[[httpx.Request], httpx.Response]) -> RunpodAccount:
    return RunpodAccount(KEY, transport=httpx.MockTransport(answer))


def test_the_key_goes_into_the_header_and_the_address_is_version_2():
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"endpoints": []})

    with account(answer) as runpod:
        assert runpod.endpoints() == []
    assert str(asked[0].url) == "https://api.runpod.io/v2/serverless"
    assert asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "RUNPOD_API_KEY"),
        (403, "may change"),
        (422, "Correct what RunPod names"),
        (429, "Wait a minute"),
    ],
)
def test_a_refusal_names_what_runpod_said_and_what_to_do(status: int, remedy: str):
    problem = {"title": "No", "status": status, "detail": "not so.", "errors": ["$.gpu: pools missing"]}
    with (
        account(lambda _: httpx.Response(status, json=problem)) as runpod,
        pytest.raises(RunpodAccountRefusedError) as refused,
    ):
        runpod.create_endpoint({})
    assert refused.value.status == status
    assert f"POST /serverless (HTTP {status}): not so.; $.gpu: pools missing." in refused.value.message
    assert remedy in refused.value.remedy
    assert KEY not in str(refused.value)


def test_a_wrong_key_is_refused_by_the_emulator_as_by_runpod():
    with account_rig() as rig:
        rig.account._client.headers["authorization"] = "Bearer wrong"
        with pytest.raises(RunpodAccountRefusedError) as refused:
            rig.account.templates()
    assert refused.value.status == 401


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(503, text="<html>"), httpx.Response(200, text="hi")]
)
def test_what_is_no_answer_of_the_api_is_told(answer: httpx.Response):
    with account(lambda _: answer) as runpod, pytest.raises(RunpodAccountUnavailableError):
        runpod.templates()


def test_an_answer_without_its_fields_is_told_without_its_values():
    body = {"endpoints": [{"id": "e1", "name": "n", "env": {"HF_TOKEN": "hf_very_secret"}}]}
    with (
        account(lambda _: httpx.Response(200, json=body)) as runpod,
        pytest.raises(RunpodAccountUnavailableError, match=r"endpoints\.0\.workers") as told,
    ):
        runpod.endpoints()
    assert "hf_very_secret" not in str(told.value)


def test_reads_are_asked_again_when_the_connection_breaks_and_changes_are_not():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise httpx.ReadError("broken")

    with account(answer) as runpod:
        with pytest.raises(RunpodAccountUnavailableError, match="does not answer"):
            runpod.templates()
        with pytest.raises(RunpodAccountUnavailableError):
            runpod.create_template({})
    assert asked == ["GET", "GET", "POST"]


def test_an_id_cannot_lead_elsewhere():
    with account(lambda _: httpx.Response(204)) as runpod, pytest.raises(RunpodAccountUnavailableError):
        runpod.delete_endpoint("../templates/x")


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "ünï"])
def test_what_can_be_no_key_is_refused_before_it_is_sent(key: str):
    with pytest.raises(ConfigurationError, match="RUNPOD_API_KEY is no API key") as refused:
        RunpodAccount(key)
    assert key not in str(refused.value)


def listed(request: httpx.Request, *, pages: int) -> httpx.Response:
    """A list in parts, as RunPod gives long ones."""
    number = int(request.url.params.get("cursor", "0"))
    endpoint = {
        "id": f"e{number}",
        "name": "n",
        "workers": {"min": 0, "max": 1},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
        "timeout": 1,
    }
    pagination = {"hasNextPage": number + 1 < pages, "nextCursor": str(number + 1)}
    return httpx.Response(200, json={"endpoints": [endpoint], "pagination": pagination})


def test_a_long_list_is_read_to_its_end():
    with account(lambda request: listed(request, pages=3)) as runpod:
        assert [endpoint.id for endpoint in runpod.endpoints()] == ["e0", "e1", "e2"]


def test_a_list_without_end_is_told():
    with (
        account(lambda request: listed(request, pages=10_000)) as runpod,
        pytest.raises(RunpodAccountUnavailableError, match="more than 100 parts"),
    ):
        runpod.endpoints()
