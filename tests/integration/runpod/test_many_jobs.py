"""Many callers of two workers, some of whom give up: nothing hangs, nothing is lost, every slot is free at the end."""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.runpod_rig import RunpodRig, runpod_rig
from tests.integration.runpod.jobs import client, fragment, result_in, status, until

pytestmark = pytest.mark.slow

CALLERS = 8
JOBS_EACH = 30
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunpodRig]:
    with runpod_rig(tmp_path_factory.mktemp("many")) as made:
        for name in ("one", "two"):
            made.start_worker(name, STS_MAX_CONCURRENCY="3")
        yield made


def call(rig: RunpodRig, caller: int) -> Counter[str]:
    """Ask for dubs in every way there is; return how they ended."""
    chance = random.Random(caller)
    ends: Counter[str] = Counter()
    with client(rig) as http:
        for n in range(JOBS_EACH):
            work = {"input": fragment(caller * 1_000 + n, deadline_ms=PATIENCE_MS)}
            if chance.random() < 0.5:
                done = http.post("/runsync", json=work).json()
            else:
                job_id = http.post("/run", json=work).json()["id"]
                if chance.random() < 0.5:
                    http.post(f"/cancel/{job_id}")
                done = status(http, job_id, "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
            ends[done["status"]] += 1
            if done["status"] == "COMPLETED":
                result = result_in(done["output"])
                assert result.error is None
                assert result.fragment_id == work["input"]["fragment_id"]
    return ends


def test_every_job_of_many_callers_ends(rig: RunpodRig):
    with ThreadPoolExecutor(CALLERS) as threads:
        ends = sum(threads.map(lambda caller: call(rig, caller), range(CALLERS)), Counter[str]())
    assert ends.total() == CALLERS * JOBS_EACH
    assert set(ends) <= {"COMPLETED", "CANCELLED"}
    with client(rig) as http:
        health = until(http, "/health", lambda health: health["workers"]["running"] == 0)
        assert health["jobs"] == {
            "completed": ends["COMPLETED"],
            "failed": 0,
            "inProgress": 0,
            "inQueue": 0,
            "retried": 0,
        }
        # Each of the six slots takes another job: none is held by one that was cancelled.
        ids = [
            http.post("/run", json={"input": fragment(n, deadline_ms=PATIENCE_MS)}).json()["id"]
            for n in range(6)
        ]
        for job_id in ids:
            assert status(http, job_id, "COMPLETED")
