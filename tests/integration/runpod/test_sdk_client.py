"""RunPod's own client against the emulator with a real worker behind it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import runpod

from tests.contract.runpod_rig import RunpodRig
from tests.integration.runpod.jobs import client, fragment, result_in, status


@pytest.fixture
def endpoint(runpod_endpoint: RunpodRig, monkeypatch: pytest.MonkeyPatch) -> runpod.Endpoint:
    # RUNPOD_ENDPOINT_BASE_URL is read when the SDK is imported, which has happened by now.
    monkeypatch.setattr(runpod, "endpoint_url_base", runpod_endpoint.url)
    return runpod.Endpoint(runpod_endpoint.endpoint_id, api_key=runpod_endpoint.key)


def test_its_base_url_is_read_at_import_only(monkeypatch: pytest.MonkeyPatch):
    before = runpod.endpoint_url_base
    monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", "http://127.0.0.1:1/v2")
    assert runpod.Endpoint("sts", api_key="k").rp_client.endpoint_url_base == before


def test_health_counts_jobs_and_workers(endpoint: runpod.Endpoint):
    before = endpoint.health()
    assert before["workers"]["ready"] == 1
    endpoint.run_sync({"input": fragment()}, timeout=30)
    after = endpoint.health()
    assert after["jobs"]["completed"] == before["jobs"]["completed"] + 1
    assert (after["jobs"]["inQueue"], after["jobs"]["inProgress"]) == (0, 0)


def test_run_sync_returns_the_contracts_result(endpoint: runpod.Endpoint):
    output = endpoint.run_sync({"input": fragment(5)}, timeout=30)
    assert len(output) == 1
    result = result_in(output)
    assert (result.fragment_id, result.error) == ("stadium/3/5", None)
    assert [dub.language for dub in result.dubs] == ["en"]


def test_run_streams_partials_before_the_result(endpoint: runpod.Endpoint):
    job = endpoint.run({"input": fragment(6)})
    elements = list(job.stream())
    assert [element.get("kind", "last") for element in elements] == ["text", "audio", "last"]
    assert result_in(elements).fragment_id == "stadium/3/6"
    assert job.status() == "COMPLETED"
    assert job.output() == elements


def test_bad_input_completes_with_a_typed_error(endpoint: runpod.Endpoint):
    # A yielded object with an `error` would make the SDK fail the job, and RunPod run it again.
    result = result_in(endpoint.run_sync({"input": fragment(deadline_ms=0)}, timeout=30))
    assert result.error is not None
    assert result.error.code.value == "INVALID_INPUT"


def test_a_job_can_be_cancelled(endpoint: runpod.Endpoint, runpod_endpoint: RunpodRig):
    job = endpoint.run({"input": fragment(7)})
    assert job.cancel()["id"] == job.job_id
    with client(runpod_endpoint) as http:
        assert status(http, job.job_id, "CANCELLED", "COMPLETED")


def test_the_queue_can_be_purged(endpoint: runpod.Endpoint):
    assert endpoint.purge_queue() == {"removed": 0, "status": "completed"}


def test_eight_jobs_at_once_are_all_answered(endpoint: runpod.Endpoint):
    with ThreadPoolExecutor(8) as threads:
        outputs = list(
            threads.map(
                lambda n: endpoint.run_sync({"input": fragment(n, deadline_ms=30_000)}, timeout=30),
                range(20, 28),
            )
        )
    assert [result_in(output).fragment_id for output in outputs] == [f"stadium/3/{n}" for n in range(20, 28)]


def test_a_wrong_key_is_refused(endpoint: runpod.Endpoint):
    with pytest.raises(RuntimeError, match="401"):
        runpod.Endpoint(endpoint.endpoint_id, api_key="wrong").health()


def test_an_unknown_endpoint_is_refused(endpoint: runpod.Endpoint, runpod_endpoint: RunpodRig):
    with pytest.raises(requests.HTTPError, match="404"):
        runpod.Endpoint("other", api_key=runpod_endpoint.key).health()
