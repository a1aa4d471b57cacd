import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from livedub.supervision.function_telemetry import FunctionTelemetry
from livedub.supervision.xray_segments import XrayDatagrams

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled={}"


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{udp.getsockname()[1]}")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER.format(1))
        yield udp


def received(daemon: socket.socket) -> dict[str, Any]:
    preamble, document = daemon.recv(65_536).split(b"\n", 1)
    assert json.loads(preamble) == {"format": "json", "version": 1}
    return json.loads(document)


def nothing_came(daemon: socket.socket) -> bool:
    daemon.setblocking(False)
    try:
        daemon.recv(1)
    except BlockingIOError:
        return True
    return False


def test_a_subsegment_names_its_trace_and_what_it_was_about(daemon: socket.socket):
    provider = XrayDatagrams()
    with provider.in_subsegment("## handler"):
        provider.put_annotation("generation", 3)
        provider.put_annotation("stream_id", "stadium")
    document = received(daemon)
    assert document["name"] == "## handler"
    assert document["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"
    assert document["parent_id"] == "53995c3f42cd8ad8"
    assert document["annotations"] == {"generation": 3, "stream_id": "stadium"}
    assert document["end_time"] >= document["start_time"]
    assert "fault" not in document


def test_a_handler_is_traced_with_its_error_and_without_its_answer(daemon: socket.socket):
    telemetry = FunctionTelemetry("on_publish")

    def broken(_event: Any, _context: Any) -> dict[str, Any]:
        raise ValueError("no such stream")

    class Context:
        function_name = "on_publish"
        memory_limit_in_mb = 128
        invoked_function_arn = "arn"
        aws_request_id = "id"

    with pytest.raises(ValueError, match="no such"):
        telemetry.handler(correlation_id="id")(broken)({"id": "x"}, Context())
    document = received(daemon)
    assert document["fault"] is True
    assert document["cause"]["exceptions"][0]["type"] == "ValueError"

    def creating(_event: Any, _context: Any) -> dict[str, Any]:
        telemetry.count("Created")
        return {"stream_key": "hush"}

    telemetry.handler(correlation_id="id")(creating)({"id": "x"}, Context())
    assert "hush" not in json.dumps(received(daemon))


def test_what_lambda_did_not_sample_is_not_sent(daemon: socket.socket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER.format(0))
    with XrayDatagrams().in_subsegment("x"):
        pass
    assert nothing_came(daemon)


def test_tracing_can_be_switched_off(daemon: socket.socket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
    with XrayDatagrams().in_subsegment("x"):
        pass
    assert nothing_came(daemon)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:x", "no.such.host.invalid:2000"])
def test_without_a_daemon_work_goes_on(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", address)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER.format(1))
    with XrayDatagrams().in_subsegment("x") as segment:
        segment.put_annotation("a", "b")
