"""Waking an endpoint up, against the emulator: one job for many who ask, done by the worker that comes for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from livedub.sts.runpod_warm_up import Readiness
from livedub.sts.runpod_warm_up_client import wake_up
from tests.contract.runpod_rig import KEY, RunpodRig, runpod_rig


@pytest.fixture
def runpod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunpodRig]:
    with runpod_rig(tmp_path_factory.mktemp("runpod")) as rig:
        yield rig


def wake(runpod: RunpodRig) -> Readiness:
    return wake_up(runpod.address, api_key=KEY, base_url=runpod.url)


def jobs(runpod: RunpodRig) -> dict[str, int]:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.get(f"{runpod.url}/{runpod.endpoint_id}/health", headers=headers, timeout=10).json()["jobs"]


@pytest.mark.slow
def test_the_first_who_asks_hands_in_a_job_and_the_next_only_look(runpod: RunpodRig):
    assert [wake(runpod) for _ in range(3)] == [Readiness.ASLEEP, Readiness.STARTING, Readiness.STARTING]
    assert jobs(runpod)["inQueue"] == 1
    runpod.start_worker()
    runpod.emulator.line("worker worker-1 is here")
    assert wake(runpod) is Readiness.READY


def test_a_burst_hands_in_few_jobs_and_leaves_none_over(runpod: RunpodRig):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: wake(runpod), range(32)))
    handed_in = found.count(Readiness.ASLEEP)
    assert 1 <= handed_in <= 8, "as many at most as looked at the same moment"
    assert jobs(runpod)["inQueue"] == handed_in
