"""Alarms, their topic, the dashboard, how long logs are kept, and the runbook."""

import json
import re
from typing import Any

import pytest
import typer

from infra.constructs.own_metrics import namespace
from infra.observability_config import ObservabilityConfig
from livedub.cli.main import app
from livedub.errors import ConfigurationError
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.stream_gauges import stream_gauges
from tests.infra.conftest import ROOT, Part, Synthesized

RUNBOOK = ROOT / "docs" / "runbook.md"
ALARM = "AWS::CloudWatch::Alarm"


OPTIONAL = {
    *(f"gpu-host-{end}" for end in ("disk-full", "down", "memory-full", "silent")),
    "media-data-snapshots-failing",
}
"""Of what `prod` does not have."""


def alarms_of(synthesized: Synthesized) -> dict[str, dict[str, Any]]:
    """Of every stack, by name without the environment's. Not those that only steer the number of hosts."""
    prefix = f"livedub-{synthesized.environment}-"
    found = [
        resource["Properties"]
        for part in synthesized.parts.values()
        for resource in part.of_type(ALARM).values()
        if "/Scaling/" not in resource["Metadata"]["aws:cdk:path"]
    ]
    assert all(alarm["AlarmName"].startswith(prefix) for alarm in found)
    return {alarm["AlarmName"].removeprefix(prefix): alarm for alarm in found}


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Namespace, name and dimensions of what an alarm looks at."""
    if "Metrics" in alarm:
        return [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]
    return [alarm]


@pytest.fixture(scope="module")
def seen(prod: Synthesized) -> dict[str, dict[str, Any]]:
    return alarms_of(prod)


@pytest.fixture
def part(prod: Synthesized) -> Part:
    return prod.part("observability")


def entries() -> list[str]:
    return re.findall(r"^### (\S+)$", RUNBOOK.read_text(), re.MULTILINE)


def test_every_alarm_has_its_entry_in_the_runbook_and_every_entry_its_alarm(seen: dict[str, Any]):
    names = {re.sub(r"-\d+$", "", name) for name in seen}
    assert sorted(entries()) == sorted(set(entries()))
    assert names | OPTIONAL == set(entries())
    assert not names & OPTIONAL


def test_links_of_the_runbook_lead_somewhere():
    for file, anchor in re.findall(r"\]\(([\w-]+\.md)(?:#([\w-]+))?\)", RUNBOOK.read_text()):
        text = (RUNBOOK.parent / file).read_text()
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{file}#{anchor}"


def test_commands_of_the_runbook_exist():
    named = {
        tuple(words.split()) for words in re.findall(r"\blivedub ((?:[a-z][a-z-]+ ?)+)", RUNBOOK.read_text())
    }
    assert ("streams", "list") in named
    for words in named:
        command: Any = typer.main.get_command(app)
        for word in words:
            if not hasattr(command, "commands"):
                break  # what follows is an argument
            assert word in command.commands, f"livedub {' '.join(words)}"
            command = command.commands[word]


def test_every_alarm_says_what_it_means_and_where_its_entry_is(seen: dict[str, Any]):
    for name, alarm in seen.items():
        sentence, _, anchor = alarm["AlarmDescription"].partition(" docs/runbook.md#")
        assert anchor == name
        assert re.fullmatch(r"[A-Z].*\.", sentence), name


def test_every_alarm_tells_the_topic_when_it_goes_off_and_when_it_is_over(prod: Synthesized, part: Part):
    ((topic_id, topic),) = part.of_type("AWS::SNS::Topic").items()
    assert topic["Properties"]["TopicName"] == "livedub-prod-alarms"
    for name, alarm in alarms_of(prod).items():
        (action,) = alarm["AlarmActions"]
        assert alarm["OKActions"] == [action], name
        # In another stack by its name: its machine must be there before this topic is.
        assert action == {"Ref": topic_id} or json.dumps(action).count(":livedub-prod-alarms") == 1, name
        assert alarm.get("ActionsEnabled") is not False


def test_only_alarms_of_this_environment_and_account_reach_the_topic_and_only_by_tls(part: Part):
    ((_, policy),) = part.of_type("AWS::SNS::TopicPolicy").items()
    deny, allow = sorted(
        policy["Properties"]["PolicyDocument"]["Statement"], key=lambda one: one["Effect"], reverse=True
    )
    if deny["Effect"] == "Allow":
        deny, allow = allow, deny
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Action"] == "sns:Publish"
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert json.dumps(allow["Condition"]["ArnLike"]).endswith(':alarm:livedub-prod-*"]]}}')


def test_silence_is_trouble_only_where_the_runbook_says_so(seen: dict[str, Any]):
    text = RUNBOOK.read_text()
    marked = {name for name in seen if text.split(f"### {name}\n\n")[1].startswith("*Silence counts.*")}
    assert {name for name, alarm in seen.items() if alarm["TreatMissingData"] == "breaching"} == marked
    assert {alarm["TreatMissingData"] for alarm in seen.values()} == {"breaching", "notBreaching"}


def test_gauges_that_alarms_and_dashboard_name_are_those_that_reconcile_tells(
    seen: dict[str, Any], part: Part
):
    told = {name for name, _, _ in stream_gauges([], [], 0, SupervisionPolicy.model_validate({})).metrics()}
    counted = {"RepairFailed"}
    own = [
        metric
        for alarm in seen.values()
        for metric in metrics_of(alarm)
        if metric["Namespace"] == namespace("prod")
    ]
    of_reconcile = [
        metric
        for metric in own
        if metric["Dimensions"] == [{"Name": "service", "Value": "reconcile_streams"}]
    ]
    assert {metric["MetricName"] for metric in of_reconcile} <= told | counted
    drawn = set(re.findall(r'"livedub/prod","(\w+)","service","reconcile_streams"', dashboard_text(part)))
    assert drawn <= told
    assert {name for name in told if name.startswith("Streams")} <= drawn


def dashboard_text(part: Part) -> str:
    """The body, with references in it shortened to nothing."""
    ((_, dashboard),) = part.of_type("AWS::CloudWatch::Dashboard").items()
    pieces = dashboard["Properties"]["DashboardBody"]["Fn::Join"][1]
    return "".join(piece if isinstance(piece, str) else "X" for piece in pieces)


def test_the_dashboard_is_one_that_cloudwatch_can_read(part: Part):
    body = json.loads(dashboard_text(part))
    assert body["widgets"][0]["type"] == "alarm"
    assert len(body["widgets"]) > 8
    for widget in body["widgets"]:
        assert widget["x"] + widget["width"] <= 24


def test_an_expression_has_no_more_metrics_than_cloudwatch_takes(seen: dict[str, Any]):
    for name, alarm in seen.items():
        assert len(metrics_of(alarm)) <= 10, name


def test_every_function_is_watched(prod: Synthesized, seen: dict[str, Any]):
    """By the reference to it: an alarm on a function that is not there would stay silent for ever."""
    for kind in ("failing", "throttled"):
        watched = [
            metric["Dimensions"][0]["Value"]["Fn::GetStackOutput"]
            for name, alarm in seen.items()
            if f"functions-{kind}" in name
            for metric in metrics_of(alarm)
        ]
        found: set[tuple[str, str]] = set()
        for reference in watched:
            part = prod.part(reference["StackName"].removeprefix("livedub-prod-"))
            found.add((part.name, part.template["Outputs"][reference["OutputName"]]["Value"]["Ref"]))
        functions = {
            (part.name, function_id)
            for part in prod.parts.values()
            for function_id in part.of_type("AWS::Lambda::Function")
        }
        assert found == functions


def test_functions_write_where_alarms_look(prod: Synthesized, local: Synthesized):
    """In a namespace of their environment: several may share an account."""
    for synthesized in (prod, local):
        for part in synthesized.parts.values():
            for function in part.of_type("AWS::Lambda::Function").values():
                variables = function["Properties"]["Environment"]["Variables"]
                assert variables["POWERTOOLS_METRICS_NAMESPACE"] == namespace(synthesized.environment)


def test_nothing_is_exported_for_it(prod: Synthesized, part: Part):
    """An export in use keeps what it names from being replaced."""
    assert "Fn::ImportValue" not in json.dumps(part.template)
    assert set(prod.parts) - {"observability", "network"} <= {
        name.removeprefix("livedub-prod-") for name in prod.manifest["artifacts"][part.name]["dependencies"]
    }


def test_logs_of_every_kind_are_kept_for_as_long_as_the_environment_says(
    prod: Synthesized, local: Synthesized
):
    for synthesized, days in ((prod, 180), (local, 1)):
        for part in synthesized.parts.values():
            for name, group in part.of_type("AWS::Logs::LogGroup").items():
                assert group["Properties"]["RetentionInDays"] == days, f"{part.name} {name}"


def test_no_function_makes_a_log_group_of_its_own(prod: Synthesized):
    """Lambda's own would be kept for ever."""
    for part in prod.parts.values():
        for name, function in part.of_type("AWS::Lambda::Function").items():
            group = function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
            assert group in part.of_type("AWS::Logs::LogGroup"), name


@pytest.mark.parametrize("part_name", ["media", "media-cache"])
def test_a_machines_alarm_stands_with_its_machine(prod: Synthesized, part_name: str):
    part = prod.part(part_name)
    (alarm,) = (
        each
        for each in part.of_type(ALARM).values()
        if each["Properties"]["MetricName"] == "StatusCheckFailed"
    )
    (dimension,) = alarm["Properties"]["Dimensions"]
    assert dimension["Value"]["Ref"] in part.of_type("AWS::EC2::Instance")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notify", ("ops",)),
        ("waiting_s", 10),
        ("disk_percent", 100),
        ("memory_percent", 100),
        ("certificate_days", 0),
        ("database_free_gb", 0),
        ("database_connections", 0),
    ],
)
def test_a_bound_that_would_never_tell_is_refused(key: str, value: Any):
    with pytest.raises(ConfigurationError, match=f"observability.{key}") as refused:
        ObservabilityConfig(**{key: value})
    assert refused.value.remedy
