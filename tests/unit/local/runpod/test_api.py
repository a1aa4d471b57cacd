"""Both APIs over HTTP: what they answer, and what they refuse."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from local.runpod.__main__ import _key
from local.runpod.endpoint import Endpoint
from local.runpod.limits import Limits
from local.runpod.server import create_app
from local.runpod.worker_api import worker_environment

KEY = "k3y"
BOUND_S = 10.0


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = replace(Limits(), take_wait_s=0.01, stop_wait_s=0.01, chunk_bytes=1_000, queued_jobs=3)
    endpoint = Endpoint(replace(limits, run_body_bytes=1_000, runsync_body_bytes=2_000, result_bytes=2_000))
    transport = httpx.ASGITransport(create_app({"sts": endpoint}, KEY))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=headers) as client:
        yield client
    endpoint.close()


async def run(http: httpx.AsyncClient, **more: Any) -> str:
    answer = await http.post("/v2/sts/run", json={"input": {"n": 1}, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": answer.json()["id"], "status": "IN_QUEUE"}
    return answer.json()["id"]


async def test_a_job_goes_from_a_client_to_a_worker_and_back(http: httpx.AsyncClient):
    job_id = await run(http)
    given = await http.get("/w/sts/job-take/w1?gpu=none&job_in_progress=0")
    assert given.json() == {"id": job_id, "input": {"n": 1}, "webhook": None}
    pushed = await http.post(f"/w/sts/job-stream/w1/{job_id}?gpu=none&isStream=false", json={"output": "a"})
    assert pushed.status_code == 200
    stream = await http.get(f"/v2/sts/stream/{job_id}")
    assert stream.json() == {"status": "IN_PROGRESS", "stream": [{"output": "a"}]}
    await http.post(f"/w/sts/job-done/w1/{job_id}?gpu=none&isStream=true", json={"output": ["a"]})
    status = (await http.get(f"/v2/sts/status/{job_id}")).json()
    assert (status["status"], status["output"]) == ("COMPLETED", ["a"])
    assert (await http.get(f"/v2/sts/stream/{job_id}")).json() == {"status": "COMPLETED", "stream": []}


async def test_runsync_answers_when_the_job_has_ended(http: httpx.AsyncClient):
    answer = asyncio.create_task(http.post("/v2/sts/runsync", json={"input": {"n": 2}}))
    given: list[dict[str, Any]] = []
    while not given:
        taken = await http.get("/w/sts/job-take-batch/w1?gpu=none&batch_size=4&job_in_progress=0")
        given = taken.json() if taken.status_code == 200 else []
    assert given[0]["id"].startswith("sync-")
    await http.post(f"/w/sts/job-done/w1/{given[0]['id']}?gpu=none&isStream=true", json={"output": [5]})
    done = (await asyncio.wait_for(answer, BOUND_S)).json()
    assert (done["status"], done["output"]) == ("COMPLETED", [5])


async def test_runsync_that_lasts_too_long_answers_what_it_knows(http: httpx.AsyncClient):
    answer = await http.post("/v2/sts/runsync?wait=1000", json={"input": {"n": 2}})
    assert answer.json() == {"id": answer.json()["id"], "status": "IN_QUEUE"}


async def test_a_cancelled_job_is_told_to_its_worker(http: httpx.AsyncClient):
    job_id = await run(http)
    await http.get("/w/sts/job-take/w1?gpu=none")
    assert (await http.get("/w/sts/job-stop/w1?gpu=none")).status_code == 204
    assert (await http.post(f"/v2/sts/cancel/{job_id}")).json() == {"id": job_id, "status": "CANCELLED"}
    assert (await http.get("/w/sts/job-stop/w1?gpu=none")).json() == {"jobsToStop": [job_id]}


async def test_failed_jobs_can_be_retried_and_waiting_ones_purged(http: httpx.AsyncClient):
    job_id = await run(http)
    await http.get("/w/sts/job-take/w1?gpu=none")
    await http.post(f"/w/sts/job-done/w1/{job_id}?gpu=none", json={"error": "boom"})
    assert (await http.get(f"/v2/sts/status/{job_id}")).json()["error"] == "boom"
    assert (await http.post(f"/v2/sts/retry/{job_id}")).json() == {"id": job_id, "status": "IN_QUEUE"}
    assert (await http.post("/v2/sts/purge-queue")).json() == {"removed": 1, "status": "completed"}
    health = (await http.get("/v2/sts/health")).json()
    assert health["jobs"] == {"completed": 0, "failed": 1, "inProgress": 0, "inQueue": 0, "retried": 1}
    assert (await http.post(f"/v2/sts/retry/{job_id}")).status_code == 400


@pytest.mark.parametrize("key", ["", "Bearer ", "Bearer wrong", "wrong", "Bearer kéy"])
@pytest.mark.parametrize("path", ["/v2/sts/health", "/w/sts/job-take/w1?gpu=none", "/w/sts/ping/w1"])
async def test_nobody_gets_in_without_the_key(http: httpx.AsyncClient, path: str, key: str):
    refused = await http.get(path, headers={b"authorization": key.encode()})
    assert refused.status_code == 401
    assert "API key" in refused.json()["error"]


async def test_a_worker_sends_its_key_without_bearer(http: httpx.AsyncClient):
    assert (await http.get("/w/sts/ping/w1", headers={"authorization": KEY})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v2/other/health", "/v2/sts/status/nothing", "/v2/sts/stream/nothing", "/w/other/job-take/w1"]
)
async def test_what_does_not_exist_is_404(http: httpx.AsyncClient, path: str):
    answer = await http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "JSON"),
        (b"[]", "input"),
        (b"{}", "input"),
        (b'{"input": {}}', "input"),
        (b'{"input": 1, "webhook": "http://x"}', "webhook"),
        (b'{"input": 1, "s3Config": {"a": 1}}', "s3Config"),
        (b'{"input": 1, "policy": 7}', "policy"),
        (b'{"input": 1, "policy": {"executionTimeout": 5000}}', "5000"),
        (b'{"input": 1, "policy": {"executionTimeout": "6000"}}', "executionTimeout"),
        (b'{"input": 1, "policy": {"executionTimeout": true}}', "executionTimeout"),
        (b'{"input": 1, "policy": {"executionTimeout": NaN}}', "executionTimeout"),
        (b'{"input": 1, "policy": {"ttl": 9999}}', "10000"),
        (b'{"input": 1, "policy": {"ttl": 604800001}}', "604800000"),
    ],
)
async def test_bad_submissions_say_what_is_wrong(http: httpx.AsyncClient, body: bytes, problem: str):
    refused = await http.post("/v2/sts/run", content=body)
    assert refused.status_code == 400
    assert problem in refused.json()["error"]
    assert (await http.get("/v2/sts/health")).json()["jobs"]["inQueue"] == 0


@pytest.mark.parametrize("wait", ["999", "300001", "x", "-5", "1e3"])
async def test_waits_outside_the_documented_range_are_refused(http: httpx.AsyncClient, wait: str):
    assert (await http.post(f"/v2/sts/runsync?wait={wait}", json={"input": 1})).status_code == 400


async def test_policies_in_range_are_taken(http: httpx.AsyncClient):
    await run(http, policy={"executionTimeout": 5001, "ttl": 10000, "lowPriority": True})


@pytest.mark.parametrize(("operation", "most"), [("run", 1_000), ("runsync?wait=1000", 2_000)])
async def test_payload_limits_are_runpods(http: httpx.AsyncClient, operation: str, most: int):
    empty = len(json.dumps({"input": ""}))
    fits = await http.post(f"/v2/sts/{operation}", content=json.dumps({"input": "x" * (most - empty)}))
    assert fits.status_code == 200
    refused = await http.post(f"/v2/sts/{operation}", content=json.dumps({"input": "x" * (most - empty + 1)}))
    assert refused.status_code == 413


async def test_a_chunk_that_is_too_large_is_refused_and_the_job_goes_on(http: httpx.AsyncClient):
    job_id = await run(http)
    await http.get("/w/sts/job-take/w1?gpu=none")
    url = f"/w/sts/job-stream/w1/{job_id}?gpu=none"
    assert (await http.post(url, json={"output": "x" * 1_000})).status_code == 413
    assert (await http.get(f"/v2/sts/stream/{job_id}")).json() == {"status": "IN_PROGRESS", "stream": []}


async def test_a_result_that_is_too_large_fails_the_job(http: httpx.AsyncClient):
    job_id = await run(http)
    await http.get("/w/sts/job-take/w1?gpu=none")
    url = f"/w/sts/job-done/w1/{job_id}?gpu=none"
    assert (await http.post(url, json={"output": "x" * 2_000})).status_code == 413
    assert (await http.get(f"/v2/sts/status/{job_id}")).json()["status"] == "FAILED"


async def test_a_full_queue_is_429(http: httpx.AsyncClient):
    for _ in range(3):
        await run(http)
    assert (await http.post("/v2/sts/run", json={"input": 1})).status_code == 429


async def test_an_unhealthy_worker_shows_in_health(http: httpx.AsyncClient):
    await http.get("/w/sts/ping/w1?status=unhealthy&check=gpu&reason=none")
    assert (await http.get("/v2/sts/health")).json()["workers"]["unhealthy"] == 1


def test_the_sdks_urls_have_a_query_for_what_it_appends():
    # The SDK appends `&name=value` to these; without a query that would become part of the path.
    given = worker_environment("http://127.0.0.1:1", "sts", "w1", KEY)
    for name in ("RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT", "RUNPOD_WEBHOOK_POST_STREAM"):
        assert urlsplit(f"{given[name]}&isStream=true").query == "gpu=none&isStream=true"
    assert "/job-take/" in (given["RUNPOD_WEBHOOK_GET_JOB"] or "")  # the SDK derives job-stop from it


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_key_file_without_a_key_is_an_error(tmp_path: Any, content: str | None):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Exception, match="api-key-file"):
        _key(file)
