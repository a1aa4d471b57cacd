"""What reconcile_streams tells CloudWatch, as the lines it prints."""

import importlib
import json
from typing import Any

import pytest

from tests.unit.functions.rig import FUNCTIONS, Clock, Rig
from tests.unit.functions.test_lease_steps import acquire, run_on_agent
from tests.unit.functions.test_media import report

# Here, for a function's logger keeps the stream that it finds: a test's captured one would be closed after the test.
for _function in FUNCTIONS:
    importlib.import_module(f"functions.{_function}.handler")

SCHEDULE = {"version": "0", "id": "f5c", "detail-type": "Scheduled Event", "source": "aws.events"}


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    (found,) = [line for line in lines if "Repaired" in line]
    return found


@pytest.fixture
def stream(rig: Rig, capsys: pytest.CaptureFixture[str]) -> Rig:
    rig.api("PUT", "/v1/streams/stadium")
    rig.publish()
    acquire(rig)
    run_on_agent(rig)
    report(rig, ("live/stadium/in", "src-1"))
    capsys.readouterr()
    return rig


def test_the_schedule_tells_how_the_streams_are(stream: Rig, capsys: pytest.CaptureFixture[str]):
    stream.call("reconcile_streams", SCHEDULE)
    line = printed(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("livedub", [["service"]])
    assert line["service"] == "reconcile_streams"
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert units["StreamsRunning"] == "Count"
    assert units["LongestWaiting"] == "Seconds"
    assert (line["StreamsRunning"], line["StreamsUnattended"], line["RelaysSilent"]) == ([1.0], [0.0], [0.0])


def test_a_silent_relay_and_a_lost_agent_show_in_the_next_minutes(
    stream: Rig, clock: Clock, capsys: pytest.CaptureFixture[str]
):
    clock.pass_s(61)
    stream.call("reconcile_streams", SCHEDULE)
    line = printed(capsys)
    # The lost agent's lease was released and the stream starts anew, all in this call.
    assert (line["Repaired"], line["Started"]) == ([1.0], [1.0])
    assert (line["RelaysReporting"], line["RelaysSilent"]) == ([0.0], [1.0])


def test_a_relays_own_list_tells_no_gauges(stream: Rig, capsys: pytest.CaptureFixture[str]):
    """Else each relay would add its own values, and a minute's average would be theirs."""
    report(stream, ("live/stadium/in", "src-1"))
    assert "StreamsRunning" not in printed(capsys)


def test_the_environments_namespace_is_taken(monkeypatch: pytest.MonkeyPatch):
    from livedub.supervision.function_telemetry import FunctionTelemetry  # noqa: PLC0415

    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "livedub/prod")
    assert FunctionTelemetry("of_this_test").metrics.namespace == "livedub/prod"
    monkeypatch.delenv("POWERTOOLS_METRICS_NAMESPACE")
    assert FunctionTelemetry("of_this_test").metrics.namespace == "livedub"
