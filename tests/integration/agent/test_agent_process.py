"""The agent as a process, with stub workers, against the state machine's own waiting states."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from livedub.supervision import desire
from livedub.supervision.record import Phase
from livedub.supervision.stream_settings import change
from tests.integration.agent.control_plane import (
    BOUND_S,
    STREAM,
    AgentProcess,
    ControlPlane,
    Valve,
    eventually,
    is_alive,
)

StartAgent = Callable[..., AgentProcess]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ends_soon = pytest.mark.parametrize("heartbeat_s", [8], indirect=True, ids=[""])
"""The end of a heartbeat is waited for."""


@ends_soon
def test_a_stream_is_claimed_run_steered_drained_and_reported(plane: ControlPlane, start_agent: StartAgent):
    agent = start_agent()
    execution = plane.publish()
    (assigned,) = agent.assigned()
    lease = eventually(lambda: lease if (lease := plane.row().lease).phase is Phase.RUNNING else None)
    token = assigned["settings"]["output_url"].split("token=")[1]
    assert (lease.agent_id, lease.generation) == ("agent", 1)
    assert lease.publish_token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert plane.queued() == (0, 0)
    eventually(lambda: plane.row().timeline)

    # Longer than a heartbeat: without beats the state machine had ended it.
    first_end_ms = plane.row().lease.expires_at_ms
    eventually(lambda: plane.row().lease.expires_at_ms > first_end_ms + 1_000 * plane.heartbeat_s)
    assert plane.report(execution) is None

    # From another writer, on top of the agent's own renewals.
    plane.store.update(
        STREAM, lambda row: change(row, {"target_language": "de"}, restart=False, now_ms=0) if row else None
    )
    eventually(lambda: any(note.get("command") == "settings" for note in agent.notes()))
    plane.store.update(STREAM, lambda row: desire.drain(row, 0) if row else None)
    report = eventually(lambda: plane.report(execution))["report"]
    assert (report["outcome"], report["exit_code"], report["host_draining"]) == ("drained", 0, False)

    for pid in (agent.process.pid,):
        for name in ("cmdline", "environ"):
            assert token not in Path(f"/proc/{pid}/{name}").read_text()
    assert token not in agent.log_text()
    assert lease.task_token not in agent.log_text()


def test_a_worker_that_is_killed_is_reported_at_once(plane: ControlPlane, start_agent: StartAgent):
    agent = start_agent(AGENT_WARM_SPARE="true")
    execution = plane.publish()
    (assigned,) = agent.assigned()
    os.kill(assigned["pid"], signal.SIGKILL)
    report = eventually(lambda: plane.report(execution))["report"]
    assert (report["outcome"], report["exit_code"]) == ("crashed", -9)
    # The next generation, on the same timeline.
    eventually(lambda: plane.row().timeline)
    timeline = plane.row().timeline
    plane.publish()
    second = agent.assigned(2)[1]
    assert second["timeline"] == timeline
    assert second["settings"]["generation"] == 2
    assert second["settings"]["output_url"] != assigned["settings"]["output_url"]


@ends_soon
def test_a_worker_that_stands_still_is_ended_and_reported(plane: ControlPlane, start_agent: StartAgent):
    agent = start_agent()
    execution = plane.publish()
    (assigned,) = agent.assigned()
    os.kill(assigned["pid"], signal.SIGUSR1)
    answer = eventually(lambda: plane.report(execution))
    assert not is_alive(assigned["pid"])
    # Whoever was first: our report, or the state machine's own clock.
    assert answer.get("report", {}).get("outcome") == "crashed" or "Timeout" in str(answer.get("error"))


@ends_soon
def test_the_workers_of_a_killed_agent_die_and_another_agent_goes_on(
    plane: ControlPlane, start_agent: StartAgent
):
    first = start_agent("first", AGENT_WARM_SPARE="true")
    execution = plane.publish()
    (assigned,) = first.assigned()
    eventually(lambda: plane.row().timeline)
    timeline = plane.row().timeline
    first.process.kill()
    eventually(lambda: not is_alive(assigned["pid"]))
    answer = eventually(lambda: plane.report(execution))
    assert "Timeout" in str(answer["error"])
    second = start_agent("second")
    plane.publish()
    (taken_over,) = second.assigned()
    assert taken_over["timeline"] == timeline
    assert taken_over["settings"]["generation"] == 2


def test_a_fenced_agent_kills_its_worker_and_has_it_kicked(plane: ControlPlane, start_agent: StartAgent):
    kicked = threading.Event()
    bodies: list[str] = []

    class Relay(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()
            kicked.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            return

    relay = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True).start()
    try:
        agent = start_agent()
        plane.publish(kick_url=f"http://127.0.0.1:{relay.server_port}/v1/kick")
        (assigned,) = agent.assigned()
        eventually(lambda: plane.row().lease.phase is Phase.RUNNING)
        plane.store.update(
            STREAM,
            lambda row: (
                replace(row, lease=replace(row.lease, generation=2, agent_id="other")) if row else None
            ),
        )
        eventually(lambda: not is_alive(assigned["pid"]))
        assert kicked.wait(BOUND_S)
        assert "live/stadium/out" in bodies[0]
        assert "fenced" in agent.log_text()
    finally:
        relay.shutdown()
        relay.server_close()


def test_sigterm_hands_streams_on_and_ends_the_agent(plane: ControlPlane, start_agent: StartAgent):
    agent = start_agent(AGENT_WARM_SPARE="true")
    execution = plane.publish()
    (assigned,) = agent.assigned()
    agent.process.terminate()
    assert agent.process.wait(BOUND_S) == 0
    report = eventually(lambda: plane.report(execution))["report"]
    assert (report["outcome"], report["host_draining"]) == ("drained", True)
    assert not is_alive(assigned["pid"])
    # What is published now waits for another host.
    plane.publish("other")
    eventually(lambda: plane.queued() == (1, 0))


@ends_soon
def test_an_endpoint_that_is_cut_ends_the_worker_in_time(plane: ControlPlane, start_agent: StartAgent):
    valve = Valve(plane.port)
    try:
        agent = start_agent(AWS_ENDPOINT_URL=f"http://127.0.0.1:{valve.port}")
        execution = plane.publish()
        (assigned,) = agent.assigned()
        eventually(lambda: plane.row().lease.phase is Phase.RUNNING)
        valve.shut()
        eventually(lambda: not is_alive(assigned["pid"]))
        # By our own clock, not because somebody told us: the state machine has not given up, or only just.
        assert "could not be renewed in time" in eventually(
            lambda: text if "is ended" in (text := agent.log_text()) else ""
        )
        valve.reopen()
        eventually(lambda: plane.report(execution) is not None)
        plane.publish()
        assert agent.assigned(2)[1]["settings"]["generation"] == 2
    finally:
        valve.close()


def test_a_duplicate_message_starts_nothing(plane: ControlPlane, start_agent: StartAgent):
    plane.publish()
    message = eventually(
        lambda: plane.sqs.receive_message(QueueUrl=plane.queue_url, VisibilityTimeout=0).get("Messages")
    )[0]
    plane.sqs.send_message(QueueUrl=plane.queue_url, MessageBody=message["Body"])
    agents = [start_agent("one"), start_agent("two")]
    eventually(lambda: plane.queued() == (0, 0))
    eventually(lambda: plane.row().lease.phase is Phase.RUNNING)
    eventually(lambda: any(note["event"] == "assigned" for agent in agents for note in agent.notes()))
    # The other one has dealt with its message as well (the queue is empty): there is nothing left to start.
    assert [note["event"] for agent in agents for note in agent.notes()] == ["assigned"]


def test_a_spot_notice_hands_streams_on_and_ends_the_agent(plane: ControlPlane, start_agent: StartAgent):
    announced = threading.Event()

    class Metadata(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer(200, "token")

        def do_GET(self) -> None:
            due = self.path.endswith("/spot/instance-action") and announced.is_set()
            self._answer(200 if due else 404, '{"action": "terminate"}' if due else "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            return

    metadata = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=metadata.serve_forever, args=(0.05,), daemon=True).start()
    try:
        agent = start_agent(
            AGENT_IMDS_URL=f"http://127.0.0.1:{metadata.server_port}", AGENT_IMDS_POLL_S="0.2"
        )
        execution = plane.publish()
        agent.assigned()
        assert agent.process.poll() is None
        announced.set()
        assert agent.process.wait(BOUND_S) == 0
        report = eventually(lambda: plane.report(execution))["report"]
        assert (report["outcome"], report["host_draining"]) == ("drained", True)
        assert "EC2 announces" in report["detail"]
    finally:
        metadata.shutdown()
        metadata.server_close()
