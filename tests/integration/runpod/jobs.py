"""Job inputs and raw HTTP to the emulator, for tests of the worker."""

from __future__ import annotations

import time
from typing import Any

import httpx

from livedub.sts.contract import StsResult
from tests.contract.runpod_rig import RunpodRig
from tests.unit.livedub.sts.exchanges import request

BOUND_S = 60.0
_PAUSE_S = 0.01


def fragment(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A job's input that the mock engines dub: its own number, half a second of tone."""
    document = request(duration_ms=500).model_dump(mode="json")
    return {
        **document,
        "stream_id": "stadium",
        "generation": 3,
        "sequence_number": number,
        "fragment_id": f"stadium/3/{number}",
        **changes,
    }


def client(rig: RunpodRig) -> httpx.Client:
    """Plain HTTP to the endpoint's client side."""
    headers = {"authorization": f"Bearer {rig.key}"}
    return httpx.Client(base_url=f"{rig.url}/{rig.endpoint_id}", headers=headers, timeout=BOUND_S)


def result_in(output: Any) -> StsResult:
    """The contract's result in what a job returned."""
    return StsResult.model_validate(output[-1]["result"])


def until(http: httpx.Client, path: str, found: Any) -> dict[str, Any]:
    """What GET `path` answers once `found` holds of it; how a client of RunPod learns anything: by asking again."""
    end_s = time.monotonic() + BOUND_S
    while True:
        answer = http.get(path).json()
        if found(answer):
            return answer
        assert time.monotonic() < end_s, f"{path} still answers {answer}"
        time.sleep(_PAUSE_S)


def status(http: httpx.Client, job_id: str, *wanted: str) -> dict[str, Any]:
    """A job's view once it has one of these states."""
    return until(http, f"/status/{job_id}", lambda answer: answer["status"] in wanted)
