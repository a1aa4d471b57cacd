"""`on_publish` in the real Lambda runtime on the local AWS, as the relay meets it: `python tests/bench/bench_on_publish.py`.

Deploys the synthesized control plane to a fresh local AWS and sends signed hooks through the HTTP API on one kept
connection. Three kinds, each after a warm-up: `start` are first hooks of new streams (row written, execution started;
the state machine then acquires and queues in the background, waited for before the next), `repeat` are duplicates, and
`refused` are unsigned. Milliseconds at the caller: front, emulator, handler and every AWS call of it.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "layers" / "core" / "python")]

from livedub.supervision.contract import MediaAddresses, SourceHook  # noqa: E402
from livedub.supervision.signing import sign  # noqa: E402
from local.aws import deployment  # noqa: E402
from local.aws.spawner import dying_with_parent  # noqa: E402

CALLS = 250
WARM_UP = 20
PATH = "/v1/hooks/publish"
_START_BOUND_S = 60.0
_IDLE_BOUND_S = 20.0
_MEDIA = MediaAddresses(play_base_url="rtmp://127.0.0.1:1935", publish_base_url="rtmp://127.0.0.1:1935")


@contextmanager
def local_aws() -> Iterator[str]:
    """A fresh local AWS; its endpoint."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        process = subprocess.Popen(
            dying_with_parent(
                [
                    sys.executable,
                    "-m",
                    "local.aws",
                    "--port",
                    "0",
                    "--ready-file",
                    str(ready),
                    "--schedule-speed",
                    "0.01",
                ]
            ),
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            give_up_at = time.monotonic() + _START_BOUND_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > give_up_at:
                    raise RuntimeError("the local AWS did not start; run python -m local.aws to see why")
                time.sleep(0.05)
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["endpoint"]
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


class Relay:
    """Sends hooks on one connection, as the relay does."""

    def __init__(self, api_url: str, key: bytes) -> None:
        parts = urlsplit(api_url)
        self._prefix = parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._key = key

    def send(self, stream_id: str, source_id: str, *, signed: bool = True) -> tuple[float, int]:
        """One hook; milliseconds until its answer was read, and the status."""
        hook = SourceHook(
            relay_id="bench",
            path=f"live/{stream_id}/in",
            source_id=source_id,
            occurred_at_ms=time.time_ns() // 1_000_000,
            media=_MEDIA,
        )
        body = hook.model_dump_json().encode()
        headers = {"content-type": "application/json"}
        if signed:
            headers |= sign(
                self._key,
                body,
                method="POST",
                path=PATH,
                timestamp_ms=time.time_ns() // 1_000_000,
                nonce=secrets.token_hex(16),
            )
        begun = time.perf_counter()
        self._connection.request("POST", self._prefix + PATH, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return (time.perf_counter() - begun) * 1_000, answer.status


def summary(durations_ms: list[float]) -> dict[str, Any]:
    """Percentiles by rank, so that a single outlier of 250 shows in p100 and two show in p99."""
    ordered = sorted(durations_ms)

    def rank(percent: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 1)

    return {
        "calls": len(ordered),
        "p50_ms": rank(50),
        "p95_ms": rank(95),
        "p99_ms": rank(99),
        "max_ms": rank(100),
    }


def quiet(sqs: Any, queue_url: str) -> None:
    """Wait until the started execution has queued its work and is parked.

    The local AWS is one process: what an execution does there would be paid for by the next hook. On AWS it is not.
    """
    give_up_at = time.monotonic() + _IDLE_BOUND_S
    while time.monotonic() < give_up_at:
        for message in sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=0).get("Messages", []):
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            return
        time.sleep(0.02)
    raise RuntimeError("no execution queued its work")


def measure(calls: int = CALLS) -> dict[str, Any]:
    """Deploy and send; see the module."""
    with local_aws() as endpoint:
        environment = {"LIVEDUB_UNKNOWN_STREAMS": "accept", "LIVEDUB_CAPACITY_TIMEOUT_S": "3600"}
        deployed = deployment.deploy(endpoint, deployment.ensure_assembly(), environment=environment)
        key = bytes.fromhex(deployment.secret(endpoint, deployed.relay_key_secret).split()[0])
        relay = Relay(deployed.hook_api_url, key)
        sqs = deployment.client(endpoint, "sqs")

        def start(number: int) -> tuple[float, int]:
            sent = relay.send(f"bench-{number}", f"source-{number}")
            quiet(sqs, deployed.work_queue_url)
            return sent

        def series(send: Callable[[int], tuple[float, int]], expected: int, first: int) -> dict[str, Any]:
            for number in range(first, first + WARM_UP):
                send(number)
            sent = [send(number) for number in range(first + WARM_UP, first + WARM_UP + calls)]
            wrong = [status for _, status in sent if status != expected]
            if wrong:
                raise RuntimeError(f"{len(wrong)} of {calls} hooks were answered {set(wrong)}")
            return summary([took_ms for took_ms, _ in sent])

        cold_ms, _ = start(0)
        return {
            "cold_ms": round(cold_ms, 1),
            "start": series(start, 200, 1),
            "repeat": series(lambda _: relay.send("bench-1", "source-1"), 200, 0),
            "refused": series(lambda _: relay.send("bench-1", "source-1", signed=False), 401, 0),
        }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))  # noqa: T201 - its result
