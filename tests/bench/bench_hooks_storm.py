"""A storm of hooks against the control plane: `python tests/bench/bench_hooks_storm.py`.

1,000 signed hooks for 50 streams at once, duplicated and shuffled: late ends of an earlier publisher, ends before
their beginnings, the same hook many times. Stub agents take the work, hold the leases and beat. Prints JSON: what the
hooks were answered and how long that took, executions, leases held, workers that ran at the same time for one stream.
Exits 1 unless 50 leases are held, none was started twice and no hook failed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "layers" / "core" / "python")]

from botocore.exceptions import ClientError  # noqa: E402

from livedub.supervision import lease  # noqa: E402
from livedub.supervision.contract import MediaAddresses, SourceHook, WorkClaim, WorkMessage  # noqa: E402
from livedub.supervision.dynamo_stream_store import DynamoStreamStore  # noqa: E402
from livedub.supervision.policy import SupervisionPolicy  # noqa: E402
from livedub.supervision.record import Phase, StreamRecord  # noqa: E402
from local.aws import deployment  # noqa: E402
from local.control_plane import ControlPlane, start_control_plane  # noqa: E402
from local.processes import Supervisor  # noqa: E402
from media_edge.mediamtx.relay.control_plane_client import ControlPlane as Relay  # noqa: E402

STREAMS = 50
HOOKS = 1_000
AT_ONCE = 32
STUB_AGENTS = 4
HEARTBEAT_S = 30
SETTLE_S = 90.0
MEDIA = MediaAddresses(play_base_url="rtmp://127.0.0.1:1", publish_base_url="rtmp://127.0.0.1:1")


@dataclass
class StubAgents:
    """Take work, bind it and hold it, as agents do, with nothing behind it."""

    control: ControlPlane
    policy: SupervisionPolicy
    running: Counter[str] = field(default_factory=Counter)
    started: Counter[tuple[str, int]] = field(default_factory=Counter)
    refused_claims: int = 0
    most_at_once: int = 0
    problems: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = DynamoStreamStore(self.control.deployed.streams_table, self._client("dynamodb"))
        self.steps = self._client("stepfunctions")

    def start(self) -> None:
        for number in range(STUB_AGENTS):
            self._go(partial(self._poll, f"stub-{number}"))

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def _client(self, service: str) -> Any:
        return deployment.client(self.control.endpoint, service)

    def _go(self, work: Any) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _poll(self, agent_id: str) -> None:
        sqs, queue = self._client("sqs"), self.control.deployed.work_queue_url
        while not self._stop.is_set():
            answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                if self._claim(agent_id, WorkMessage.model_validate_json(message["Body"])):
                    self._go(partial(self._hold, agent_id, WorkMessage.model_validate_json(message["Body"])))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    def _claim(self, agent_id: str, message: WorkMessage) -> bool:
        output = WorkClaim(agent_id=agent_id).model_dump_json()
        try:
            self._update(message, agent_id, lease.claim)
            self.steps.send_task_success(taskToken=message.claim_token, output=output)
        except (lease.LeaseRefusedError, ClientError):
            self.refused_claims += 1
            return False
        return True

    def _hold(self, agent_id: str, message: WorkMessage) -> None:
        stream_id, generation = message.work.stream_id, message.work.generation
        try:
            self._await_token(stream_id, generation)
            token_hash = hashlib.sha256(f"{agent_id}{generation}".encode()).hexdigest()
            self._update(message, agent_id, partial(lease.bind, publish_token_hash=token_hash))
            with self._lock:
                self.started[stream_id, generation] += 1
                self.running[stream_id] += 1
                self.most_at_once = max(self.most_at_once, self.running[stream_id])
            try:
                while not self._stop.wait(self.policy.heartbeat_s / 3):
                    record = self._update(message, agent_id, lease.renew)
                    self.steps.send_task_heartbeat(taskToken=record.lease.task_token)
            finally:
                with self._lock:
                    self.running[stream_id] -= 1
        except (lease.LeaseRefusedError, ClientError, TimeoutError) as error:
            self.problems.append(f"{stream_id}: {error}")

    def _await_token(self, stream_id: str, generation: int) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not self._stop.is_set():
            record = self.store.load(stream_id)
            if record is not None and record.lease.generation == generation and record.lease.task_token:
                return
            self._stop.wait(0.05)
        raise TimeoutError("no task token came")

    def _update(self, message: WorkMessage, agent_id: str, rule: Any) -> StreamRecord:
        def changed(record: StreamRecord | None) -> StreamRecord:
            assert record is not None
            return rule(
                record,
                generation=message.work.generation,
                agent_id=agent_id,
                now_ms=time.time_ns() // 1_000_000,
                policy=self.policy,
            )

        record = self.store.update(message.work.stream_id, changed)
        assert record is not None
        return record


_HOOKS_OF_ONE = (
    # An earlier publisher that came and left, and the one that is on.
    ("publish", "a", -3_000),
    ("unpublish", "a", -2_000),
    ("publish", "b", -1_000),
    ("publish", "b", -1_000),
)


def storm(source: random.Random) -> list[tuple[str, SourceHook]]:
    """The hooks in the order in which they arrive: whatever came, publisher `b` of every stream is on in the end."""
    per_stream = HOOKS // STREAMS
    now_ms = time.time_ns() // 1_000_000
    hooks: list[tuple[str, SourceHook]] = []
    for number in range(STREAMS):
        for copy in range(per_stream):
            what, who, at_ms = _HOOKS_OF_ONE[copy % len(_HOOKS_OF_ONE)]
            hook = SourceHook(
                relay_id="storm",
                path=f"live/storm-{number}/in",
                source_id=f"{who}-{number}",
                occurred_at_ms=now_ms + at_ms,
                media=MEDIA,
            )
            hooks.append((what, hook))
    source.shuffle(hooks)
    return hooks


async def blow(
    control: ControlPlane, hooks: list[tuple[str, SourceHook]]
) -> tuple[Counter[str], list[float]]:
    """Send every hook, many at once; statuses and milliseconds."""
    relay = Relay(control.access.url, bytes.fromhex(control.relay_key.split()[0]), timeout_s=30)
    answers: Counter[str] = Counter()
    took_ms: list[float] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(what: str, hook: SourceHook) -> None:
        async with gate:
            began = time.perf_counter()
            try:
                answer = await relay.post(f"/v1/hooks/{what}", hook)
                answers[str(answer.status)] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a hook that failed
                answers[type(error).__name__] += 1
            took_ms.append((time.perf_counter() - began) * 1_000)

    try:
        await asyncio.gather(*(send(what, hook) for what, hook in hooks))
    finally:
        await relay.close()
    return answers, sorted(took_ms)


async def held(agents: StubAgents) -> int:
    """How many streams a stub agent holds once nothing changes any more, or when patience ends."""
    deadline = time.monotonic() + SETTLE_S
    count = 0
    while time.monotonic() < deadline and count < STREAMS:
        records = await asyncio.to_thread(agents.store.list_all)
        count = sum(record.lease.phase is Phase.RUNNING for record in records)
        await asyncio.sleep(0.5)
    return count


async def measure(seed: int) -> dict[str, Any]:
    """The whole storm on a fresh local AWS."""
    environment = {"LIVEDUB_UNKNOWN_STREAMS": "accept", "LIVEDUB_HEARTBEAT_S": str(HEARTBEAT_S)}
    with tempfile.TemporaryDirectory(prefix="livedub-") as folder:
        async with Supervisor(Path(folder)) as supervisor:
            control = await start_control_plane(supervisor, function_env=environment)
            agents = StubAgents(control, SupervisionPolicy(heartbeat_s=HEARTBEAT_S))
            agents.start()
            try:
                began = time.monotonic()
                answers, took_ms = await blow(control, storm(random.Random(seed)))
                storm_s = time.monotonic() - began
                leases = await held(agents)
                settled_s = time.monotonic() - began
                executions = await asyncio.to_thread(_executions, control)
            finally:
                await asyncio.to_thread(agents.stop)
    return {
        "hooks": sum(answers.values()),
        "streams": STREAMS,
        "answers": dict(answers),
        "errors": sum(count for status, count in answers.items() if not status.startswith("2")),
        "hook_ms": {
            "p50": round(took_ms[len(took_ms) // 2], 1),
            "p99": round(took_ms[int(len(took_ms) * 0.99)], 1),
        },
        "storm_s": round(storm_s, 1),
        "settled_s": round(settled_s, 1),
        "leases_held": leases,
        "workers_started": sum(agents.started.values()),
        "double_starts": sum(count - 1 for count in agents.started.values()),
        "workers_at_once_for_one_stream": agents.most_at_once,
        "refused_claims": agents.refused_claims,
        "problems": agents.problems[:5],
        "executions": executions,
    }


def _executions(control: ControlPlane) -> dict[str, int]:
    steps = deployment.client(control.endpoint, "stepfunctions")
    found: Counter[str] = Counter()
    for page in steps.get_paginator("list_executions").paginate(
        stateMachineArn=control.deployed.state_machine_arn
    ):
        found.update(execution["status"] for execution in page["executions"])
    return dict(found)


def passed(figures: dict[str, Any]) -> bool:
    """Whether the bars are cleared."""
    return (
        figures["leases_held"] == STREAMS
        and figures["double_starts"] == 0
        and figures["workers_at_once_for_one_stream"] == 1
        and figures["errors"] == 0
    )


def main() -> int:
    """Measure once and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    figures = asyncio.run(measure(parser.parse_args().seed))
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0 if passed(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
