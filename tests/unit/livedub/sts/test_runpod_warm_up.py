"""When an endpoint is woken up, and that asking costs no more than it must."""

import base64
import json
from collections.abc import Iterator

import pytest

from livedub.errors import ConfigurationError
from livedub.sts.contract import StsRequest
from livedub.sts.errors import StsBadAnswer, StsRefused, StsUnavailable
from livedub.sts.runpod_warm_up import Readiness, read_readiness, warm_up_job
from livedub.sts.runpod_warm_up_client import wake_up
from local.ports import free_port
from tests.unit.livedub.sts.runpod_health_server import ENDPOINT_ID, KEY, HealthServer, health_server

ADDRESS = f"runpod://{ENDPOINT_ID}"


@pytest.fixture
def server() -> Iterator[HealthServer]:
    with health_server() as server:
        yield server


def wake(server: HealthServer) -> Readiness:
    return wake_up(ADDRESS, api_key=KEY, base_url=server.base_url)


@pytest.mark.parametrize(
    ("workers", "jobs", "readiness"),
    [
        ({}, {}, Readiness.ASLEEP),
        ({"throttled": 2, "unhealthy": 1}, {}, Readiness.ASLEEP),
        ({"initializing": 1}, {}, Readiness.STARTING),
        ({}, {"inQueue": 1}, Readiness.STARTING),
        ({"throttled": 1}, {"inProgress": 1}, Readiness.STARTING),
        ({"idle": 1}, {}, Readiness.READY),
        ({"ready": 1, "initializing": 1}, {"inQueue": 3}, Readiness.READY),
        ({"running": 1}, {}, Readiness.READY),
    ],
)
def test_only_where_nobody_is_awake_or_waking_a_job_is_handed_in(
    server: HealthServer, workers: dict[str, int], jobs: dict[str, int], readiness: Readiness
):
    server.health = {"workers": workers, "jobs": jobs}
    assert wake(server) is readiness
    assert len(server.jobs) == (readiness is Readiness.ASLEEP)
    assert server.keys == {f"Bearer {KEY}"}


def test_the_job_is_a_fragment_of_silence_that_runpod_forgets_by_itself():
    job = json.loads(warm_up_job())
    request = StsRequest.model_validate(job["input"])
    assert request.audio.duration_ms == 100
    assert not any(base64.b64decode(request.audio.data_base64))
    assert job["policy"]["ttl"] <= 180_000
    assert len(warm_up_job()) < 6_000


@pytest.mark.parametrize("body", [b"", b"[]", b'{"jobs": {}}', b'{"workers": {"idle": "many"}}'])
def test_what_is_no_health_is_told(body: bytes):
    with pytest.raises(StsBadAnswer, match="/health does not tell about workers"):
        read_readiness(body)


@pytest.mark.parametrize(
    ("status", "failure"),
    [(401, StsRefused), (404, StsUnavailable), (429, StsRefused), (500, StsUnavailable)],
)
def test_a_refusal_is_a_typed_failure_and_nothing_is_handed_in(
    server: HealthServer, status: int, failure: type[Exception]
):
    server.status = status
    with pytest.raises(failure):
        wake(server)
    assert server.jobs == []


def test_an_answer_without_end_is_not_read(server: HealthServer):
    server.health = {"workers": {}, "more": "x" * 100_000}
    with pytest.raises(StsBadAnswer, match="more than"):
        wake(server)


def test_nobody_there_is_a_typed_failure():
    with pytest.raises(StsUnavailable, match="does not answer"):
        wake_up(ADDRESS, api_key=KEY, base_url=f"http://127.0.0.1:{free_port()}/v2")


@pytest.mark.parametrize("address", ["http://gpu:8000", "runpod://", "runpod://a/b"])
def test_only_an_endpoint_s_address_will_do(address: str):
    with pytest.raises(ConfigurationError):
        wake_up(address, api_key=KEY)


def test_another_endpoint_is_not_there(server: HealthServer):
    with pytest.raises(StsUnavailable, match="does not know the endpoint"):
        wake_up("runpod://other", api_key=KEY, base_url=server.base_url)
