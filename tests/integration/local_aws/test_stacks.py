"""CloudFormation and DynamoDB on the local AWS: the types our stacks need, and writes that race."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.integration.local_aws.rig import Aws, eventually, name

DEFINITION = {
    "StartAt": "A",
    "States": {"A": {"Type": "Pass", "Result": "${Value}", "End": True}},
}


def template(aws: Aws) -> dict[str, Any]:
    integration = {"Fn::Join": ["", ["integrations/", {"Ref": "Integration"}]]}
    resources = {
        "Function": (
            "AWS::Lambda::Function",
            {
                "Runtime": "python3.11",
                "Role": aws.role,
                "Handler": "index.handler",
                "Code": {
                    "ZipFile": "def handler(event, context):\n    return {'route': event['routeKey']}\n"
                },
            },
        ),
        "Url": (
            "AWS::Lambda::Url",
            {"AuthType": "NONE", "TargetFunctionArn": {"Fn::GetAtt": ["Function", "Arn"]}},
        ),
        "Api": ("AWS::ApiGatewayV2::Api", {"Name": "api", "ProtocolType": "HTTP"}),
        "Integration": (
            "AWS::ApiGatewayV2::Integration",
            {
                "ApiId": {"Ref": "Api"},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {"Fn::GetAtt": ["Function", "Arn"]},
                "PayloadFormatVersion": "2.0",
            },
        ),
        "Route": (
            "AWS::ApiGatewayV2::Route",
            {"ApiId": {"Ref": "Api"}, "RouteKey": "GET /v1/x", "Target": integration},
        ),
        "Stage": ("AWS::ApiGatewayV2::Stage", {"ApiId": {"Ref": "Api"}, "StageName": "$default"}),
        "Secret": (
            "AWS::SecretsManager::Secret",
            {"GenerateSecretString": {"PasswordLength": 20, "ExcludePunctuation": True}},
        ),
        "Table": (
            "AWS::DynamoDB::Table",
            {
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
                "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
            },
        ),
        "Machine": (
            "AWS::StepFunctions::StateMachine",
            {
                "RoleArn": aws.role,
                "DefinitionString": json.dumps(DEFINITION),
                "DefinitionSubstitutions": {"Value": "substituted"},
            },
        ),
    }
    outputs = {
        "FunctionUrl": {"Fn::GetAtt": ["Url", "FunctionUrl"]},
        "ApiUrl": {"Fn::GetAtt": ["Api", "ApiEndpoint"]},
        "Secret": {"Ref": "Secret"},
        "Table": {"Ref": "Table"},
        "Machine": {"Ref": "Machine"},
    }
    return {
        "Resources": {
            logical: {"Type": kind, "Properties": properties}
            for logical, (kind, properties) in resources.items()
        },
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }


def deployed(aws: Aws) -> dict[str, str]:
    """The outputs of a stack made by a change set, as the CDK makes them."""
    stack = name("stack")
    made = aws.stacks.create_change_set(
        StackName=stack,
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(template(aws)),
    )
    aws.stacks.execute_change_set(ChangeSetName=made["Id"])
    found = aws.stacks.describe_stacks(StackName=stack)["Stacks"][0]
    assert found["StackStatus"] == "CREATE_COMPLETE"
    return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}


def get(url: str) -> tuple[int, Any]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        connection.request("GET", where.path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_stack_made_by_a_change_set_has_outputs_and_all_of_it_works(aws: Aws):
    outputs = deployed(aws)
    assert get(f"{outputs['ApiUrl']}/v1/x") == (200, {"route": "GET /v1/x"})
    assert get(f"{outputs['ApiUrl']}/v1/y") == (404, {"message": "Not Found"})
    assert get(outputs["FunctionUrl"]) == (200, {"route": "$default"})
    secret = aws.secrets.get_secret_value(SecretId=outputs["Secret"])["SecretString"]
    assert len(secret) == 20
    assert secret.isalnum()
    expiry = aws.tables.describe_time_to_live(TableName=outputs["Table"])["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    ended = aws.ended(aws.start(outputs["Machine"]))
    assert json.loads(ended["output"]) == "substituted"


def test_of_racing_conditional_writes_one_wins_each_round(aws: Aws):
    table = aws.make_table()
    aws.tables.put_item(TableName=table, Item={"id": {"S": "s"}, "v": {"N": "0"}})

    def swap(version: int) -> bool:
        try:
            aws.tables.update_item(
                TableName=table,
                Key={"id": {"S": "s"}},
                UpdateExpression="SET v = :next, a = :next, b = :next",
                ConditionExpression="v = :seen",
                ExpressionAttributeValues={":seen": {"N": str(version)}, ":next": {"N": str(version + 1)}},
            )
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ConditionalCheckFailedException"  # noqa: PT017 - the losers' only error
            return False
        return True

    def whole(_: int) -> bool:
        item = aws.tables.get_item(TableName=table, Key={"id": {"S": "s"}}, ConsistentRead=True)["Item"]
        return "a" not in item or item["v"] == item["a"] == item["b"]

    with ThreadPoolExecutor(12) as threads:
        for version in range(20):
            swaps = [threads.submit(swap, version) for _ in range(8)]
            reads = [threads.submit(whole, version) for _ in range(4)]
            assert sum(one.result() for one in swaps) == 1
            assert all(one.result() for one in reads)


def test_items_are_read_as_they_were_written(aws: Aws):
    table = aws.make_table()
    item = {
        "id": {"S": "s"},
        "text": {"S": "é"},
        "number": {"N": "12345678901234567890"},
        "flag": {"BOOL": False},
        "nothing": {"NULL": True},
        "bytes": {"B": b"\x00\xff"},
        "set": {"SS": ["a", "b"]},
        "list": {"L": [{"N": "1"}, {"M": {}}]},
        "map": {"M": {"S": {"S": "a key like a type"}, "L": {"L": []}}},
    }
    aws.tables.put_item(TableName=table, Item=item)
    read = aws.tables.get_item(TableName=table, Key={"id": {"S": "s"}})["Item"]
    read["set"]["SS"].sort()
    assert read == item
    assert aws.tables.scan(TableName=table)["Items"][0]["map"] == item["map"]


def test_what_expired_goes_as_dynamodb_lets_it_go(aws: Aws):
    table = aws.make_table()
    aws.tables.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    for key, expiry in (("old", {"N": "1000000000"}), ("new", {"N": "4000000000"}), ("odd", {"S": "soon"})):
        aws.tables.put_item(TableName=table, Item={"id": {"S": key}, "expires_at": expiry})

    def left() -> set[str]:
        return {one["id"]["S"] for one in aws.tables.scan(TableName=table)["Items"]}

    eventually(lambda: left() == {"new", "odd"}, "the expired item's end")


def test_an_unknown_stack_is_an_error(aws: Aws):
    with pytest.raises(ClientError):
        aws.stacks.describe_stacks(StackName=name("none"))
