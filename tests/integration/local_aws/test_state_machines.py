"""Step Functions on the local AWS: what supervision relies on and moto does not do."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.integration.local_aws.rig import BOUND_S, Aws, eventually, name

CATCH_ALL = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}]
PASS = {"Type": "Pass", "End": True}


def code_of(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def answer_refused(aws: Aws, token: str) -> str:
    with pytest.raises(ClientError) as refused:
        aws.machines.send_task_success(taskToken=token, output="{}")
    with pytest.raises(ClientError) as beat:
        aws.machines.send_task_heartbeat(taskToken=token)
    assert code_of(beat.value) == code_of(refused.value)
    return code_of(refused.value)


def test_an_answer_is_taken_once(aws: Aws):
    queue, next_queue = aws.make_queue(), aws.make_queue()
    machine = aws.make_machine(
        "A", {"A": aws.token_task(queue, Next="B"), "B": aws.token_task(next_queue, End=True)}
    )
    execution = aws.start(machine)
    first = aws.message(queue)["token"]
    aws.machines.send_task_success(taskToken=first, output='{"by": 1}')
    # Still running, in another task: a doubled message must not claim the first one again.
    second = aws.message(next_queue)["token"]
    assert answer_refused(aws, first) == "TaskTimedOut"
    aws.machines.send_task_success(taskToken=second, output='{"by": 2}')
    assert json.loads(aws.ended(execution)["output"]) == {"by": 2}


def test_of_many_answers_at_once_one_is_taken(aws: Aws):
    queue, next_queue = aws.make_queue(), aws.make_queue()
    states = {"A": aws.token_task(queue, ResultPath="$.claim", Next="B")}
    states["B"] = aws.token_task(next_queue, ResultPath="$.end", End=True)
    execution = aws.start(aws.make_machine("A", states))
    token = aws.message(queue)["token"]

    def claim(number: int) -> int | None:
        try:
            aws.machines.send_task_success(taskToken=token, output=json.dumps({"by": number}))
        except ClientError:
            return None
        return number

    with ThreadPoolExecutor(12) as threads:
        taken = [number for number in threads.map(claim, range(24)) if number is not None]
    assert len(taken) == 1
    aws.machines.send_task_success(taskToken=aws.message(next_queue)["token"], output="{}")
    assert json.loads(aws.ended(execution)["output"])["claim"] == {"by": taken[0]}


def test_an_answer_before_the_task_waits_is_not_lost(aws: Aws):
    # The function answers while it is still being invoked, so before anybody can wait for the answer.
    function = aws.make_function(
        "import boto3\nstates = boto3.client('stepfunctions')\ndef handler(event, context):\n"
        "    states.send_task_heartbeat(taskToken=event['token'])\n"
        "    states.send_task_success(taskToken=event['token'], output='{\"early\": true}')"
    )
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {"FunctionName": function, "Payload": {"token.$": "$$.Task.Token"}},
        "HeartbeatSeconds": 600,
        "TimeoutSeconds": 3600,
        "End": True,
    }
    execution = aws.start(aws.make_machine("A", {"A": task}))
    assert json.loads(aws.ended(execution)["output"]) == {"early": True}


def test_a_missed_heartbeat_ends_the_task_and_its_token(aws: Aws):
    queue, next_queue = aws.make_queue(), aws.make_queue()
    states = {
        "A": aws.token_task(queue, HeartbeatSeconds=1, Catch=CATCH_ALL, End=True),
        "Caught": aws.token_task(next_queue, ResultPath="$.second", End=True),
    }
    execution = aws.start(aws.make_machine("A", states))
    token = aws.message(queue)["token"]
    aws.machines.send_task_heartbeat(taskToken=token)
    later = aws.message(next_queue)["token"]
    assert answer_refused(aws, token) == "TaskTimedOut"
    with pytest.raises(ClientError):
        aws.machines.send_task_failure(taskToken=token, error="Late")
    aws.machines.send_task_success(taskToken=later, output="{}")
    output = json.loads(aws.ended(execution)["output"])
    assert output["error"]["Error"] in ("States.Timeout", "States.HeartbeatTimeout")


def test_a_task_that_times_out_closes_its_token(aws: Aws):
    queue, next_queue = aws.make_queue(), aws.make_queue()
    states = {
        "A": aws.token_task(queue, TimeoutSeconds=1, Catch=CATCH_ALL, End=True),
        "Caught": aws.token_task(next_queue, ResultPath="$.second", End=True),
    }
    execution = aws.start(aws.make_machine("A", states))
    token = aws.message(queue)["token"]
    aws.message(next_queue)
    assert answer_refused(aws, token) == "TaskTimedOut"
    aws.machines.stop_execution(executionArn=execution)


def test_a_failure_carries_error_and_cause_and_a_retry_has_a_token_of_its_own(aws: Aws):
    queue = aws.make_queue()
    retry = [{"ErrorEquals": ["Worker.Crashed"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    states = {"A": aws.token_task(queue, Retry=retry, Catch=CATCH_ALL, End=True), "Caught": PASS}
    execution = aws.start(aws.make_machine("A", states))
    first = aws.message(queue)["token"]
    aws.machines.send_task_failure(taskToken=first, error="Worker.Crashed", cause="signal 9")
    second = aws.message(queue)["token"]
    assert second != first
    aws.machines.send_task_failure(taskToken=second, error="Worker.Crashed", cause="signal 11")
    assert json.loads(aws.ended(execution)["output"])["error"] == {
        "Error": "Worker.Crashed",
        "Cause": "signal 11",
    }


def test_an_output_that_is_no_json_is_refused_and_the_task_goes_on(aws: Aws):
    queue = aws.make_queue()
    execution = aws.start(aws.make_machine("A", {"A": aws.token_task(queue, End=True)}))
    token = aws.message(queue)["token"]
    with pytest.raises(ClientError) as refused:
        aws.machines.send_task_success(taskToken=token, output="no json")
    assert code_of(refused.value) == "InvalidOutput"
    aws.machines.send_task_success(taskToken=token, output="{}")
    assert aws.ended(execution)["status"] == "SUCCEEDED"


def test_an_invented_token_is_invalid(aws: Aws):
    assert answer_refused(aws, "invented") == "InvalidToken"


def test_stopping_ends_a_token_wait_at_once_with_its_error_and_cause(aws: Aws):
    queue = aws.make_queue()
    states = {
        "A": aws.token_task(queue, HeartbeatSeconds=600, Catch=CATCH_ALL, End=True),
        "Caught": PASS,
    }
    execution = aws.start(aws.make_machine("A", states))
    token = aws.message(queue)["token"]
    aws.machines.stop_execution(executionArn=execution, error="Operator", cause="as asked")
    stopped = aws.execution(execution)
    assert (stopped["status"], stopped["error"], stopped["cause"]) == ("ABORTED", "Operator", "as asked")
    assert answer_refused(aws, token) == "InvalidToken"

    def last_event() -> str:
        return aws.machines.get_execution_history(executionArn=execution)["events"][-1]["type"]

    eventually(lambda: last_event() == "ExecutionAborted", "the end of the history")
    assert aws.execution(execution)["status"] == "ABORTED"
    assert aws.execution(execution)["stopDate"] == stopped["stopDate"]
    # A second stop changes nothing.
    again = aws.machines.stop_execution(executionArn=execution, error="Other")
    assert again["stopDate"] == stopped["stopDate"]
    assert aws.execution(execution)["error"] == "Operator"


def test_an_execution_can_be_stopped_the_moment_it_starts(aws: Aws):
    machine = aws.make_machine("W", {"W": {"Type": "Wait", "Seconds": 3600, "End": True}})
    for _ in range(10):
        execution = aws.start(machine)
        aws.machines.stop_execution(executionArn=execution)
        assert aws.execution(execution)["status"] == "ABORTED"


def test_one_name_starts_one_execution_whoever_comes_at_once(aws: Aws):
    machine = aws.make_machine("W", {"W": {"Type": "Wait", "Seconds": 3600, "End": True}})
    same = {"stateMachineArn": machine, "name": name("e"), "input": '{"a": 1}'}
    with ThreadPoolExecutor(12) as threads:
        started = list(threads.map(lambda _: aws.machines.start_execution(**same), range(24)))
    assert len({(one["executionArn"], one["startDate"]) for one in started}) == 1
    assert len(aws.machines.list_executions(stateMachineArn=machine)["executions"]) == 1
    with pytest.raises(ClientError) as other_input:
        aws.machines.start_execution(**{**same, "input": '{"a": 2}'})
    assert code_of(other_input.value) == "ExecutionAlreadyExists"
    aws.machines.stop_execution(executionArn=started[0]["executionArn"])
    with pytest.raises(ClientError) as closed:
        aws.machines.start_execution(**same)
    assert code_of(closed.value) == "ExecutionAlreadyExists"


def test_an_unnamed_execution_gets_a_name(aws: Aws):
    machine = aws.make_machine("P", {"P": PASS})
    arns = {aws.machines.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(2)}
    assert len(arns) == 2
    assert not any(arn.endswith(":None") for arn in arns)


def test_a_token_in_a_row_hands_the_task_over(aws: Aws):
    table = aws.make_table()
    aws.tables.put_item(TableName=table, Item={"id": {"S": "s"}, "generation": {"N": "3"}})
    states = {
        "A": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
            "Parameters": {
                "TableName": table,
                "Key": {"id": {"S": "s"}},
                "UpdateExpression": "SET task_token = :token",
                "ConditionExpression": "generation = :generation",
                "ExpressionAttributeValues": {
                    ":token": {"S.$": "$$.Task.Token"},
                    ":generation": {"N.$": "States.Format('{}', $.generation)"},
                },
            },
            "HeartbeatSecondsPath": "$.heartbeat_s",
            "TimeoutSecondsPath": "$.timeout_s",
            "Catch": CATCH_ALL,
            "End": True,
        },
        "Caught": PASS,
    }
    machine = aws.make_machine("A", states)
    limits = {"heartbeat_s": 60, "timeout_s": 3600}
    execution = aws.start(machine, {"generation": 3, **limits})

    def token() -> str | None:
        item = aws.tables.get_item(TableName=table, Key={"id": {"S": "s"}})["Item"]
        return item.get("task_token", {}).get("S")

    # The very instant the token is in the row a heartbeat must be welcome.
    aws.machines.send_task_heartbeat(taskToken=eventually(token, "the token in the row"))
    aws.machines.send_task_success(taskToken=token(), output='{"done": true}')
    assert json.loads(aws.ended(execution)["output"]) == {"done": True}
    refused = aws.ended(aws.start(machine, {"generation": 4, **limits}))
    assert "ConditionalCheckFailed" in json.loads(refused["output"])["error"]["Error"]


def test_functions_errors_keep_their_names(aws: Aws):
    function = aws.make_function(
        "class Busy(Exception): pass\ndef handler(event, context):\n    raise Busy('later')"
    )
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload": {}},
        "Catch": [{"ErrorEquals": ["Busy"], "ResultPath": "$.error", "Next": "Caught"}],
        "End": True,
    }
    ended = aws.ended(aws.start(aws.make_machine("A", {"A": task, "Caught": PASS})))
    assert json.loads(ended["output"])["error"]["Error"] == "Busy"


def test_an_execution_starts_another(aws: Aws):
    inner = aws.make_machine("P", {"P": {"Type": "Pass", "End": True}})
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": inner, "Name": name("inner"), "Input": {"a": 1}},
        "End": True,
    }
    assert aws.ended(aws.start(aws.make_machine("A", {"A": task})))["status"] == "SUCCEEDED"
    started = aws.machines.list_executions(stateMachineArn=inner)["executions"]
    assert [json.loads(aws.ended(e["executionArn"])["output"]) for e in started] == [{"a": 1}]


def test_an_output_with_dates_can_be_described(aws: Aws):
    parameter = name("/p/")
    aws.parameters.put_parameter(Name=parameter, Value="v", Type="String")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:ssm:getParameter",
        "Parameters": {"Name": parameter},
        "End": True,
    }
    ended = aws.ended(aws.start(aws.make_machine("A", {"A": task})))
    assert json.loads(ended["output"])["Parameter"]["Value"] == "v"


def test_an_execution_times_out_with_a_stop_date_and_closes_its_token(aws: Aws):
    queue = aws.make_queue()
    machine = aws.make_machine("A", {"A": aws.token_task(queue, End=True)}, TimeoutSeconds=1)
    execution = aws.start(machine)
    token = aws.message(queue)["token"]
    ended = aws.ended(execution)
    assert ended["status"] == "TIMED_OUT"
    assert ended["stopDate"] >= ended["startDate"]
    assert answer_refused(aws, token) == "InvalidToken"


def test_changes_of_status_are_events(aws: Aws):
    queue = aws.make_queue()
    machine = aws.make_machine("W", {"W": {"Type": "Wait", "SecondsPath": "$.s", "End": True}})
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [machine], "status": ["ABORTED", "SUCCEEDED"]},
    }
    aws.rule_to({"Arn": aws.queue_arn(queue)}, EventPattern=json.dumps(pattern))
    waiting = aws.start(machine, {"s": 3600})
    aws.machines.stop_execution(executionArn=waiting, error="Operator", cause="as asked")
    event = aws.message(queue)
    assert event["resources"] == [waiting]
    assert event["time"].endswith("Z")
    detail = event["detail"]
    assert detail["executionArn"] == waiting
    assert detail["name"] == waiting.rsplit(":", 1)[1]
    assert (detail["status"], detail["error"], detail["cause"]) == ("ABORTED", "Operator", "as asked")
    assert json.loads(detail["input"]) == {"s": 3600}
    assert detail["stopDate"] >= detail["startDate"] > 1_500_000_000_000
    assert detail["output"] is None
    done = aws.start(machine, {"s": 0})
    succeeded = aws.message(queue)["detail"]
    assert (succeeded["executionArn"], succeeded["status"]) == (done, "SUCCEEDED")
    assert json.loads(succeeded["output"]) == {"s": 0}


def test_many_executions_at_once_all_end(aws: Aws):
    queue = aws.make_queue()
    machine = aws.make_machine("A", {"A": aws.token_task(queue, HeartbeatSeconds=60, End=True)})
    executions: list[str] = []
    ended = threading.Event()

    def answer_all() -> None:
        for _ in range(20):
            aws.machines.send_task_success(taskToken=aws.message(queue)["token"], output="{}")
        ended.set()

    answering = threading.Thread(target=answer_all)
    answering.start()
    with ThreadPoolExecutor(8) as threads:
        executions = list(threads.map(lambda _: aws.start(machine), range(20)))
    assert ended.wait(2 * BOUND_S)
    answering.join(BOUND_S)
    assert {aws.ended(one)["status"] for one in executions} == {"SUCCEEDED"}
