"""A local AWS with the two waiting states of the real state machine, and agents as processes against it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from boto3.session import Session
from moto.server import ThreadedMotoServer

from livedub.supervision.dynamo_stream_store import DynamoStreamStore
from livedub.supervision.lease import acquire
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Media, Source, StreamRecord

ROOT = Path(__file__).resolve().parents[3]
ASL = ROOT / "infra/statemachines/stream_supervisor.asl.json"
STUB = Path(__file__).with_name("stub_worker.py")
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BOUND_S = 40.0
STREAM = "stadium"


def eventually(condition: Callable[[], Any], bound_s: float = BOUND_S) -> Any:
    """What `condition` returns, once it is true.

    Raises:
        AssertionError: it was not within `bound_s`.
    """
    end = time.monotonic() + bound_s
    while not (result := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return result


class ControlPlane:
    """Queue, table and a state machine of AwaitHost and SuperviseWorker as the deployed one has them."""

    def __init__(self, heartbeat_s: int) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.port = port
        self.heartbeat_s = heartbeat_s
        self.policy = SupervisionPolicy(heartbeat_s=heartbeat_s)
        # Where the state machine's own calls go.
        self._port_before = os.environ.get("MOTO_PORT")
        os.environ["MOTO_PORT"] = str(port)
        self._post("/moto-api/config", {"stepfunctions": {"execute_state_machine": True}})
        self.sqs, self.states = self.client("sqs"), self.client("stepfunctions")
        dynamo = self.client("dynamodb")
        dynamo.create_table(
            TableName="streams",
            KeySchema=[{"AttributeName": "stream_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "stream_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.store = DynamoStreamStore("streams", dynamo)
        attributes = {"VisibilityTimeout": "30"}
        self.queue_url = self.sqs.create_queue(QueueName="work", Attributes=attributes)["QueueUrl"]
        self.machine = self.states.create_state_machine(
            name="supervisor",
            definition=self._definition(),
            roleArn="arn:aws:iam::123456789012:role/states",
        )["stateMachineArn"]
        self._executions = 0

    def close(self) -> None:
        """Stop the server."""
        self._post("/moto-api/reset", {})
        self._server.stop()
        os.environ.pop("MOTO_PORT")
        if self._port_before is not None:
            os.environ["MOTO_PORT"] = self._port_before

    def publish(self, stream_id: str = STREAM, kick_url: str = "") -> str:
        """Acquire the next generation and start an execution for it; returns the execution's ARN."""
        self._executions += 1
        name = f"run-{self._executions}"
        now_ms = time.time_ns() // 1_000_000
        before = self.store.load(stream_id) or StreamRecord(
            stream_id,
            media=Media("relay", "rtmp://127.0.0.1:1", "rtmp://127.0.0.1:1", kick_url),
            source=Source("s1", now_ms),
        )
        freed = replace(before, lease=replace(before.lease, expires_at_ms=0))
        record, _ = acquire(freed, execution=name, adopt_from="", now_ms=now_ms, policy=self.policy)
        self.store.update(stream_id, lambda _: replace(record, row_version=before.row_version))
        generation = record.lease.generation
        work = {
            "schema_version": 1,
            "stream_id": stream_id,
            "generation": generation,
            "execution": name,
            "heartbeat_s": self.heartbeat_s,
        }
        limits = {"heartbeat_s": self.heartbeat_s, "capacity_timeout_s": 60, "supervise_timeout_s": 600}
        given = {"stream_id": stream_id, "generation": generation, "work": work, "limits": limits}
        return self.states.start_execution(stateMachineArn=self.machine, name=name, input=json.dumps(given))[
            "executionArn"
        ]

    def row(self, stream_id: str = STREAM) -> StreamRecord:
        """The stream's row."""
        record = self.store.load(stream_id)
        assert record is not None
        return record

    def report(self, execution: str) -> dict[str, Any] | None:
        """What the execution ended with; None while it runs."""
        answer = self.states.describe_execution(executionArn=execution)
        return None if answer["status"] == "RUNNING" else json.loads(answer.get("output") or "{}")

    def queued(self) -> tuple[int, int]:
        """Messages waiting and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def client(self, service: str) -> Any:
        """A client of this AWS."""
        session: Any = Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        )
        return session.client(service, endpoint_url=self.endpoint)

    def _post(self, path: str, body: Any) -> None:
        answer = httpx.post(f"{self.endpoint}{path}", json=body, timeout=BOUND_S, trust_env=False)
        answer.raise_for_status()

    def _definition(self) -> str:
        text = (
            ASL.read_text().replace("${WorkQueueUrl}", self.queue_url).replace("${StreamsTable}", "streams")
        )
        states = json.loads(text)["States"]
        kept = {name: states[name] for name in ("AwaitHost", "SuperviseWorker")}
        over = {"ClassifyOutcome": {"Type": "Succeed"}}
        return json.dumps({"StartAt": "AwaitHost", "States": {**kept, **over}})


class AgentProcess:
    """`python -m media_edge.worker agent` with stub workers."""

    def __init__(self, plane: ControlPlane, folder: Path, name: str = "agent", **settings: str) -> None:
        self.name = name
        self.diary = folder / f"{name}-diary"
        self.diary.mkdir()
        self.log = (folder / f"{name}.log").open("w+")
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("AWS_", "AGENT_", "WORKER_", "STS_", "LIVEDUB_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "media_edge.worker", "agent"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
            env={
                **clean,
                **CREDENTIALS,
                "AWS_ENDPOINT_URL": plane.endpoint,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}",
                "STUB_DIARY": str(self.diary),
                "AGENT_ID": name,
                "AGENT_WORK_QUEUE_URL": plane.queue_url,
                "AGENT_STREAMS_TABLE": "streams",
                "AGENT_WORKER_COMMAND": f"{sys.executable} {STUB}",
                "AGENT_WARM_SPARE": "false",
                "AGENT_POLL_WAIT_S": "1",
                "AGENT_CALL_TIMEOUT_S": "2",
                "AGENT_DRAIN_TIMEOUT_S": "10",
                **settings,
            },
        )

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(BOUND_S)
        self.log.close()

    def log_text(self) -> str:
        """What it logged."""
        return Path(self.log.name).read_text()

    def notes(self) -> list[dict[str, Any]]:
        """What happened to its workers, in order."""
        lines = [line for path in self.diary.glob("*.jsonl") for line in path.read_text().splitlines()]
        return sorted((json.loads(line) for line in lines), key=lambda entry: entry["at"])

    def assigned(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many workers to be told what to do."""
        return eventually(
            lambda: (
                found
                if len(found := [note for note in self.notes() if note.get("event") == "assigned"]) >= count
                else None
            )
        )


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Valve:
    """A TCP proxy before the endpoint that can stall: connections stay open and nothing moves, as in a cut network."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed = False
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def reopen(self) -> None:
        """Let everything through again."""
        self._open.set()

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self._open.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target), timeout=BOUND_S)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self._open.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()
