"""Lambda on the local AWS, by boto3: what moto does in Docker and we do in AWS's runtime emulator."""

from __future__ import annotations

import base64
import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.integration.local_aws.rig import Aws, eventually, name, zipped

SEND = """
import boto3, json
sent = []
def handler(event, context):
    sent.append(1)
    boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody=json.dumps({"call": len(sent)}))
    if event.get("fail"):
        raise RuntimeError("as asked")
"""


def test_a_function_runs_and_its_process_stays_warm(aws: Aws):
    function = aws.make_function(
        "import os\ncalls = []\ndef handler(event, context):\n"
        "    calls.append(1)\n"
        "    return {'event': event, 'calls': len(calls), 'left': context.get_remaining_time_in_millis()}"
    )
    first, error = aws.call(function, {"a": 1})
    assert error is None
    assert first["event"] == {"a": 1}
    assert 0 < first["left"] <= 10_000
    assert aws.call(function)[0]["calls"] == 2


def test_its_environment_is_its_own_and_reaches_this_aws(aws: Aws):
    function = aws.make_function(
        "import os\ndef handler(event, context):\n    return dict(os.environ)",
        Environment={"Variables": {"MINE": "1"}},
    )
    variables, _ = aws.call(function)
    assert variables["MINE"] == "1"
    assert variables["AWS_ENDPOINT_URL"] == aws.endpoint
    assert variables["AWS_ACCESS_KEY_ID"] == "local"
    assert "A_SECRET_OF_THIS_MACHINE" not in variables


def test_changed_variables_and_code_are_taken_up(aws: Aws):
    source = "import os\ndef handler(event, context):\n    return [{version}, os.environ.get('MINE')]"
    function = aws.make_function(source.format(version=1))
    assert aws.call(function)[0] == [1, None]
    aws.functions.update_function_configuration(
        FunctionName=function, Environment={"Variables": {"MINE": "2"}}
    )
    assert aws.call(function)[0] == [1, "2"]
    aws.functions.update_function_code(FunctionName=function, ZipFile=zipped(source.format(version=2)))
    assert aws.call(function)[0] == [2, "2"]


def test_layers_come_before_what_the_interpreter_has_and_later_ones_before_earlier(aws: Aws):
    def layer(version: str) -> str:
        content = {"ZipFile": zipped("", **{"python/pydantic.py": f"VERSION = {version!r}"})}
        return aws.functions.publish_layer_version(LayerName=name("l"), Content=content)["LayerVersionArn"]

    function = aws.make_function(
        "import pydantic\ndef handler(event, context):\n    return pydantic.VERSION",
        Layers=[layer("first"), layer("second")],
    )
    assert aws.call(function)[0] == "second"


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ("raise LookupError('x')", "LookupError"),
        ("import os; os._exit(3)", "Runtime.ExitError"),
        ("import os; os.kill(os.getpid(), 9)", "Runtime.ExitError"),
        ("import threading; threading.Event().wait()", "Sandbox.Timedout"),
    ],
)
def test_a_failed_call_says_how_and_the_next_one_works(aws: Aws, body: str, error_type: str):
    function = aws.make_function(
        f"def handler(event, context):\n    if event.get('ok'):\n        return 1\n    {body}", Timeout=1
    )
    answer, error = aws.call(function)
    assert error == "Unhandled"
    assert answer["errorType"] == error_type
    assert aws.call(function, {"ok": True}) == (1, None)


def test_a_module_that_cannot_be_imported_is_an_error(aws: Aws):
    answer, error = aws.call(aws.make_function("import nonexistent_module"))
    assert error == "Unhandled"
    assert "nonexistent_module" in answer["errorMessage"]


def test_a_result_that_resembles_an_error_is_none(aws: Aws):
    function = aws.make_function(
        "def handler(event, context):\n    return {'errorType': 'A', 'errorMessage': 'b'}"
    )
    assert aws.call(function) == ({"errorType": "A", "errorMessage": "b"}, None)


def test_calls_at_once_beyond_the_limit_wait_for_their_turn(aws: Aws):
    function = aws.make_function("def handler(event, context):\n    return event['n']")
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda n: aws.call(function, {"n": n}), range(48)))
    assert answers == [(n, None) for n in range(48)]


def test_an_asynchronous_call_answers_at_once_and_is_retried_twice(aws: Aws):
    queue = aws.make_queue()
    function = aws.make_function(SEND)
    answer = aws.functions.invoke(
        FunctionName=function,
        InvocationType="Event",
        Payload=json.dumps({"queue": queue, "fail": True}),
    )
    assert answer["StatusCode"] == 202
    assert "FunctionError" not in answer
    assert [aws.message(queue)["call"] for _ in range(3)] == [1, 2, 3]


def test_an_unknown_function_is_an_error(aws: Aws):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        aws.call("nobody")


def test_its_lines_are_in_the_log_group(aws: Aws):
    function = aws.make_function("def handler(event, context):\n    print('a line of mine', flush=True)")
    aws.call(function)
    group = f"/aws/lambda/{function.rsplit(':', 1)[1]}"

    def lines() -> bool:
        aws.call(function)  # what was written after an answer is read with the next one
        found = aws.logs.filter_log_events(logGroupName=group)["events"]
        return any("a line of mine" in one["message"] for one in found)

    eventually(lines, "the line in CloudWatch Logs")


def test_a_function_url_and_an_http_api_answer(aws: Aws):
    function = aws.make_function(
        "def handler(event, context):\n"
        "    return {'statusCode': 201, 'headers': {'X-Route': event['routeKey']},"
        " 'body': event['rawPath'] + '?' + event['rawQueryString'] + ' ' + event.get('body', '')}"
    )
    api = aws.apis.create_api(Name=name("api"), ProtocolType="HTTP")["ApiId"]
    integration = aws.apis.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    aws.apis.create_route(ApiId=api, RouteKey="POST /v1/{name}", Target=f"integrations/{integration}")
    for base, path, route in (
        (f"/_local/api/{api}", "/v1/x", "POST /v1/{name}"),
        (f"/_local/lambda/{function.rsplit(':', 1)[1]}", "/any/path", "$default"),
    ):
        connection = http.client.HTTPConnection("localhost", aws.port, timeout=30)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{base}{path}?a=1", body=b'{"k":1}', headers=headers)
        answer = connection.getresponse()
        assert answer.status == 201
        assert answer.headers["X-Route"] == route
        assert answer.read().decode() == f'{path}?a=1 {{"k":1}}'
        connection.close()


def test_a_body_beyond_the_limit_is_refused_in_words(aws: Aws):
    function = aws.make_function("def handler(event, context):\n    return 1").rsplit(":", 1)[1]
    connection = http.client.HTTPConnection("localhost", aws.port, timeout=30)
    connection.request("POST", f"/_local/lambda/{function}/", body=bytes(12 * 1024 * 1024))
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (413, {"message": "Request Entity Too Large"})
    connection.close()


def test_a_function_of_a_template_keeps_its_layers(aws: Aws):
    code = "def handler(event, context):\n    import mine\n    return mine.VALUE\n"
    layer = aws.functions.publish_layer_version(
        LayerName=name("l"), Content={"ZipFile": zipped("", **{"python/mine.py": "VALUE = 7"})}
    )["LayerVersionArn"]
    function = name("f")
    template = {
        "Resources": {
            "F": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "FunctionName": function,
                    "Runtime": "python3.11",
                    "Role": aws.role,
                    "Handler": "index.handler",
                    "Code": {"ZipFile": code},
                    "Layers": [layer],
                },
            }
        }
    }
    aws.stacks.create_stack(StackName=name("s"), TemplateBody=json.dumps(template))
    assert aws.call(function) == (7, None)


def test_a_call_can_ask_for_the_tail_of_the_log(aws: Aws):
    function = aws.make_function("def handler(event, context):\n    print('a line of mine', flush=True)")

    def tail() -> str:
        answer = aws.functions.invoke(FunctionName=function, LogType="Tail")
        return base64.b64decode(answer["LogResult"]).decode()

    eventually(lambda: "a line of mine" in tail(), "the line in the tail")
    assert "LogResult" not in aws.functions.invoke(FunctionName=function)
