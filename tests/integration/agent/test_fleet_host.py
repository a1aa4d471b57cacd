"""An agent on a host of an auto-scaling group: protected, told what hosts share, drained when the group takes the host out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.integration.agent.control_plane import BOUND_S, AgentProcess, ControlPlane, eventually
from tests.unit.media_edge.agent.scaled_group import scaled_instance

StartAgent = Callable[..., AgentProcess]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

VOICE, STS = "/livedub/test/voice", "/livedub/test/sts"
SECRET = "livedub/test/voice/secrets"  # noqa: S105 - its name


class Metadata:
    """The instance metadata service of one host."""

    def __init__(self, instance_id: str) -> None:
        answers = {
            "/latest/meta-data/instance-id": instance_id,
            "/latest/meta-data/autoscaling/target-lifecycle-state": "InService",
        }
        self.answers = answers

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._say(200, "token")

            def do_GET(self) -> None:
                found = answers.get(self.path)
                self._say(200 if found else 404, found or "")

            def _say(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(BOUND_S)


@pytest.fixture
def instance_id(plane: ControlPlane) -> str:
    return scaled_instance(plane.client("autoscaling"))


@pytest.fixture
def metadata(instance_id: str) -> Generator[Metadata]:
    service = Metadata(instance_id)
    yield service
    service.close()


@pytest.fixture
def agent(plane: ControlPlane, start_agent: StartAgent, metadata: Metadata) -> AgentProcess:
    share(plane, "runpod://one", "old")
    return start_agent(
        AGENT_IMDS_URL=metadata.url,
        AGENT_IMDS_POLL_S="0.2",
        # No hook: this AWS has no lifecycle actions that could wait for anybody.
        AGENT_LIFECYCLE_GROUP="workers",
        AGENT_LOAD_NAMESPACE="livedub/test",
        AGENT_LOAD_REPORT_S="0.2",
        AGENT_SHARED_PARAMETERS=f"{STS},{VOICE}",
        AGENT_SHARED_SECRETS=SECRET,
        AGENT_SHARED_POLL_S="0.2",
    )


def share(plane: ControlPlane, sts_url: str, bundle: str) -> None:
    ssm, secrets = plane.client("ssm"), plane.client("secretsmanager")
    for name, value in ((f"{STS}/STS_SERVICE_URL", sts_url), (f"{VOICE}/TTS_MEDIA_CACHE_CA_BUNDLE", bundle)):
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    held = json.dumps(
        {"TTS_MEDIA_CACHE_UPLOAD_TOKEN": "upload-token", "MEDIA_UPLOAD_TOKEN_OTHER": "the-next"}
    )
    if not secrets.list_secrets()["SecretList"]:
        secrets.create_secret(Name=SECRET, SecretString=held)


def is_protected(plane: ControlPlane) -> bool:
    (instance,) = plane.client("autoscaling").describe_auto_scaling_instances()["AutoScalingInstances"]
    return instance["ProtectedFromScaleIn"]


def test_a_stream_protects_its_host_and_hears_of_new_services(plane: ControlPlane, agent: AgentProcess):
    execution = plane.publish()
    (assigned,) = agent.assigned()
    assert assigned["services"] == {
        "STS_SERVICE_URL": "runpod://one",
        "TTS_MEDIA_CACHE_CA_BUNDLE": "old",
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN": "upload-token",
    }
    eventually(lambda: is_protected(plane))
    share(plane, "runpod://two", "old and new")

    def told() -> list[dict[str, Any]]:
        return [note["services"] for note in agent.notes() if note.get("command") == "services"]

    eventually(
        lambda: (
            told()
            and (told()[-1]["STS_SERVICE_URL"], told()[-1]["TTS_MEDIA_CACHE_CA_BUNDLE"])
            == ("runpod://two", "old and new")
        )
    )
    metrics = plane.client("cloudwatch")
    eventually(lambda: metrics.list_metrics(Namespace="livedub/test", MetricName="HostIdle")["Metrics"])
    assert plane.report(execution) is None
    assert "upload-token" not in agent.log_text()


def test_a_host_that_the_group_takes_out_drains_and_ends(
    plane: ControlPlane, agent: AgentProcess, metadata: Metadata
):
    execution = plane.publish()
    agent.assigned()
    eventually(lambda: is_protected(plane))
    metadata.answers["/latest/meta-data/autoscaling/target-lifecycle-state"] = "Terminated"
    report = eventually(lambda: plane.report(execution))["report"]
    assert (report["outcome"], report["host_draining"]) == ("drained", True)
    assert agent.process.wait(BOUND_S) == 0
    # Without a hook the host is one that stays, and may be scaled in.
    assert not is_protected(plane)
