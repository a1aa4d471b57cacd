"""EventBridge, Parameter Store and Run Command on the local AWS."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from botocore.exceptions import ClientError

from local.aws.host_agent import HostAgent
from local.aws.host_commands import DOCUMENT
from tests.integration.local_aws.rig import BOUND_S, Aws, eventually, name

TELL = """
import boto3, json
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=%r, MessageBody=json.dumps(event))
"""


def put(aws: Aws, source: str, detail: object) -> None:
    entry = {"Source": source, "DetailType": "Something Changed", "Detail": json.dumps(detail)}
    assert aws.events.put_events(Entries=[entry])["FailedEntryCount"] == 0


def pattern(source: str) -> str:
    return json.dumps({"source": [source]})


def test_a_rule_calls_a_function_with_the_whole_event(aws: Aws):
    source, queue = name("source"), aws.make_queue()
    aws.rule_to({"Arn": aws.make_function(TELL % queue)}, EventPattern=pattern(source))
    put(aws, source, {"a": 1})
    event = aws.message(queue)
    assert event["detail"] == {"a": 1}
    assert event["detail-type"] == "Something Changed"
    assert (event["source"], event["account"], event["region"]) == (source, "123456789012", "us-east-1")
    assert event["time"].endswith("Z")


def test_a_rule_starts_a_state_machine(aws: Aws):
    source = name("source")
    machine = aws.make_machine("P", {"P": {"Type": "Pass", "End": True}})
    aws.rule_to({"Arn": machine, "Input": '{"constant": true}'}, EventPattern=pattern(source))
    put(aws, source, {})
    started = eventually(
        lambda: aws.machines.list_executions(stateMachineArn=machine)["executions"], "an execution"
    )
    assert json.loads(aws.ended(started[0]["executionArn"])["output"]) == {"constant": True}


def test_a_queue_gets_what_the_target_asks_for(aws: Aws):
    source, queue = name("source"), aws.make_queue()
    transformer = {
        "InputPathsMap": {"a": "$.detail.a", "kind": "$.detail-type"},
        "InputTemplate": '{"a": <a>, "text": "<kind>!"}',
    }
    target = {"Arn": aws.queue_arn(queue), "InputTransformer": transformer}
    aws.rule_to(target, EventPattern=pattern(source))
    put(aws, source, {"a": [1, 2]})
    assert aws.message(queue) == {"a": [1, 2], "text": "Something Changed!"}


def test_a_target_that_is_gone_hides_no_other(aws: Aws):
    source, queue = name("source"), aws.make_queue()
    gone = "arn:aws:lambda:us-east-1:123456789012:function:gone"
    aws.rule_to({"Arn": gone}, EventPattern=pattern(source))
    aws.rule_to({"Arn": aws.queue_arn(queue)}, EventPattern=pattern(source))
    put(aws, source, {"a": 1})
    assert aws.message(queue)["detail"] == {"a": 1}


def test_a_disabled_rule_is_silent(aws: Aws):
    source, queue = name("source"), aws.make_queue()
    rule = aws.rule_to(
        {"Arn": aws.queue_arn(queue)}, EventPattern=json.dumps({"source": [source], "detail": {"n": [1]}})
    )
    aws.rule_to(
        {"Arn": aws.queue_arn(queue)}, EventPattern=json.dumps({"source": [source], "detail": {"n": [2]}})
    )
    aws.events.disable_rule(Name=rule)
    put(aws, source, {"n": 1})
    put(aws, source, {"n": 2})
    assert aws.message(queue)["detail"] == {"n": 2}


def test_a_schedule_fires_again_and_again_until_it_is_disabled(aws: Aws):
    queue = aws.make_queue()
    rule = aws.rule_to(
        {"Arn": aws.make_function(TELL % queue)}, ScheduleExpression="rate(1 minute)", State="ENABLED"
    )
    first, second = aws.message(queue), aws.message(queue)
    assert first["detail-type"] == "Scheduled Event"
    assert first["source"] == "aws.events"
    assert first["resources"] == [f"arn:aws:events:us-east-1:123456789012:rule/{rule}"]
    assert second["id"] != first["id"]
    aws.events.disable_rule(Name=rule)


def test_a_schedule_without_a_pattern_hears_no_events(aws: Aws):
    deaf, hearing, source = aws.make_queue(), aws.make_queue(), name("source")
    aws.rule_to({"Arn": aws.queue_arn(deaf)}, ScheduleExpression="rate(30 days)")
    aws.rule_to({"Arn": aws.queue_arn(hearing)}, EventPattern=pattern(source))
    put(aws, source, {})
    assert aws.message(hearing)["source"] == source
    assert "Messages" not in aws.queues.receive_message(QueueUrl=deaf)


def test_changes_of_parameters_are_events(aws: Aws):
    parameter, queue = name("/tls/"), aws.make_queue()
    changed = {
        "source": ["aws.ssm"],
        "detail-type": ["Parameter Store Change"],
        "detail": {"name": [parameter]},
    }
    aws.rule_to({"Arn": aws.queue_arn(queue)}, EventPattern=json.dumps(changed))
    aws.parameters.put_parameter(Name=parameter, Value="a", Type="SecureString")
    created = aws.message(queue)
    assert created["detail"] == {"operation": "Create", "name": parameter, "type": "SecureString"}
    assert created["resources"] == [f"arn:aws:ssm:us-east-1:123456789012:parameter{parameter}"]
    aws.parameters.put_parameter(Name=parameter, Value="b", Overwrite=True)
    assert aws.message(queue)["detail"]["operation"] == "Update"
    aws.parameters.delete_parameter(Name=parameter)
    assert aws.message(queue)["detail"] == {"operation": "Delete", "name": parameter, "type": "SecureString"}
    aws.parameters.put_parameter(Name=parameter, Value="c", Type="String")
    assert aws.message(queue)["detail"]["operation"] == "Create"
    aws.parameters.delete_parameters(Names=[parameter])
    assert aws.message(queue)["detail"]["type"] == "String"


def test_a_secret_s_new_value_is_an_event_without_the_value(aws: Aws):
    secret, queue = name("secret"), aws.make_queue()
    told = {
        "source": ["aws.secretsmanager"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"requestParameters": {"secretId": [secret]}},
    }
    aws.rule_to({"Arn": aws.queue_arn(queue)}, EventPattern=json.dumps(told))
    arn = aws.secrets.create_secret(Name=secret, SecretString="first")["ARN"]
    aws.secrets.put_secret_value(SecretId=secret, SecretString="the second")
    put_event, text = (event := aws.message(queue))["detail"], json.dumps(event)
    assert (put_event["eventName"], put_event["responseElements"]) == ("PutSecretValue", {"arn": arn})
    assert "the second" not in text
    aws.secrets.update_secret(SecretId=secret, SecretString="the third")
    assert aws.message(queue)["detail"]["eventName"] == "UpdateSecret"


def test_labels_of_a_secret_s_version_stay_when_another_becomes_the_current_one(aws: Aws):
    secret = name("secret")
    first = aws.secrets.create_secret(Name=secret, SecretString="first")["VersionId"]
    aws.secrets.update_secret_version_stage(SecretId=secret, VersionStage="OURS", MoveToVersionId=first)
    second = aws.secrets.put_secret_value(SecretId=secret, SecretString="second")["VersionId"]
    stages = aws.secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    assert {version: sorted(labels) for version, labels in stages.items()} == {
        first: ["AWSPREVIOUS", "OURS"],
        second: ["AWSCURRENT"],
    }
    assert aws.secrets.get_secret_value(SecretId=secret, VersionStage="OURS")["SecretString"] == "first"


def test_a_shell_command_is_refused(aws: Aws):
    with pytest.raises(ClientError) as refused:
        aws.parameters.send_command(
            DocumentName="AWS-RunShellScript", InstanceIds=["i-1"], Parameters={"commands": ["echo 1"]}
        )
    assert refused.value.response["Error"]["Code"] == "InvalidDocument"


@pytest.mark.parametrize(
    ("action", "status", "exit_code"),
    [("hello", "Success", 0), ("fail", "Failed", 1), ("other", "Failed", 126)],
)
def test_a_hosts_agent_carries_out_its_actions(aws: Aws, action: str, status: str, exit_code: int):
    host = name("i")
    sent = aws.parameters.send_command(
        DocumentName=DOCUMENT, InstanceIds=[host], Parameters={"action": [action]}
    )["Command"]
    wanted = {"CommandId": sent["CommandId"], "InstanceId": host}
    assert aws.parameters.get_command_invocation(**wanted)["Status"] == "Pending"
    actions = {
        "hello": [sys.executable, "-c", "print('hello')"],
        "fail": [sys.executable, "-c", "import sys; sys.exit('why')"],
    }
    assert HostAgent(aws.endpoint, host, actions).step()
    result = aws.parameters.get_command_invocation(**wanted)
    assert (result["Status"], result["ResponseCode"]) == (status, exit_code)
    assert result["StandardOutputContent"] == ("hello\n" if action == "hello" else "")


def test_an_agent_that_waits_is_woken_by_a_command(aws: Aws):
    host = name("i")
    agent = HostAgent(aws.endpoint, host, {"hello": [sys.executable, "-c", "print('hello')"]})
    waiting = threading.Thread(target=agent.step)
    waiting.start()
    sent = aws.parameters.send_command(
        DocumentName=DOCUMENT, InstanceIds=[host], Parameters={"action": ["hello"]}
    )["Command"]
    waiting.join(BOUND_S)
    assert not waiting.is_alive()
    result = aws.parameters.get_command_invocation(CommandId=sent["CommandId"], InstanceId=host)
    assert result["Status"] == "Success"
