"""CloudFormation and DynamoDB on the local AWS: the types our stacks need, and writes that race."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psycopg
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


def made_stack(aws: Aws, resources: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """A stack made by a change set, as it is described; an output is exported under its own name."""
    stack = name("stack")
    made = aws.stacks.create_change_set(
        StackName=stack,
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(
            {
                "Resources": resources,
                "Outputs": {
                    key: {"Value": value, "Export": {"Name": f"{stack}:{key}"}}
                    for key, value in outputs.items()
                },
            }
        ),
    )
    aws.stacks.execute_change_set(ChangeSetName=made["Id"])
    return aws.stacks.describe_stacks(StackName=stack)["Stacks"][0]


def outputs_of(described: dict[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}


def parameter(value: Any, **more: Any) -> dict[str, Any]:
    properties = {"Name": f"/{name('p')}", "Type": "String", "Value": value, "Tags": {"a": "b"}, **more}
    return {"Type": "AWS::SSM::Parameter", "Properties": properties}


def test_a_stack_imports_what_another_exports(aws: Aws):
    first = made_stack(aws, {"Source": parameter("exported")}, {"Name": {"Ref": "Source"}})
    assert first["StackStatus"] == "CREATE_COMPLETE"
    imported = {"Fn::ImportValue": f"{first['StackName']}:Name"}
    second = made_stack(aws, {"Copy": parameter(imported)}, {"Name": {"Ref": "Copy"}})
    found = aws.parameters.get_parameter(Name=outputs_of(second)["Name"])["Parameter"]
    assert found["Value"] == outputs_of(first)["Name"]


def test_dynamic_references_are_resolved_when_a_resource_is_made(aws: Aws):
    plain, secret = f"/{name('p')}", name("secret")
    aws.parameters.put_parameter(Name=plain, Value="from the store", Type="String")
    aws.secrets.create_secret(Name=secret, SecretString=json.dumps({"user": "u", "token": "from the secret"}))
    resources = {
        "A": parameter(f"{{{{resolve:ssm:{plain}}}}}"),
        "B": parameter({"Fn::Join": ["", ["{{resolve:secretsmanager:", secret, ":SecretString:token::}}"]]}),
    }
    described = made_stack(aws, resources, {"A": {"Ref": "A"}, "B": {"Ref": "B"}})
    values = {
        key: aws.parameters.get_parameter(Name=value)["Parameter"]["Value"]
        for key, value in outputs_of(described).items()
    }
    assert values == {"A": "from the store", "B": "from the secret"}


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (parameter("{{resolve:ssm:/nowhere}}"), "leads nowhere"),
        (parameter({"Fn::ImportValue": "nobody:exports"}), "nobody:exports"),
        ({"Type": "AWS::Nobody::Knows", "Properties": {}}, "skipped_types"),
    ],
)
def test_a_resource_that_cannot_be_made_fails_the_stack_and_is_named(
    aws: Aws, resource: dict[str, Any], said: str
):
    described = made_stack(aws, {"Culprit": resource}, {})
    assert described["StackStatus"] == "ROLLBACK_COMPLETE"
    events = aws.stacks.describe_stack_events(StackName=described["StackName"])["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("Culprit" in reason and said in reason for reason in reasons)


def test_what_nothing_is_made_of_can_be_referred_to(aws: Aws):
    policy = {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [], "PolicyDocument": {}}}
    described = made_stack(aws, {"Policy": policy}, {"Policy": {"Ref": "Policy"}})
    assert "Policy" in outputs_of(described)["Policy"]


def database(aws: Aws) -> dict[str, Any]:
    """What a database's secret holds once RDS has added where it is."""
    generated = {"SecretStringTemplate": '{"username": "owner"}', "GenerateStringKey": "password"}
    resources = {
        "Secret": {
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {"GenerateSecretString": {**generated, "ExcludePunctuation": True}},
        },
        "Database": {
            "Type": "AWS::RDS::DBInstance",
            "Properties": {
                "Engine": "postgres",
                "DBInstanceClass": "db.t4g.micro",
                "DBName": "kept",
                "MasterUsername": "owner",
                "MasterUserPassword": {
                    "Fn::Join": [
                        "",
                        ["{{resolve:secretsmanager:", {"Ref": "Secret"}, ":SecretString:password::}}"],
                    ]
                },
            },
        },
        "Attachment": {
            "Type": "AWS::SecretsManager::SecretTargetAttachment",
            "Properties": {
                "SecretId": {"Ref": "Secret"},
                "TargetId": {"Ref": "Database"},
                "TargetType": "AWS::RDS::DBInstance",
            },
        },
    }
    described = made_stack(aws, resources, {"Secret": {"Ref": "Attachment"}})
    assert described["StackStatus"] == "CREATE_COMPLETE"
    return json.loads(aws.secrets.get_secret_value(SecretId=outputs_of(described)["Secret"])["SecretString"])


def test_a_database_of_rds_is_a_postgres_that_wants_tls_and_its_password(aws: Aws):
    held = database(aws)
    place = {
        "host": held["host"],
        "port": held["port"],
        "user": held["username"],
        "dbname": held["dbname"],
        "connect_timeout": 60,
    }
    with psycopg.connect(**place, password=held["password"], sslmode="require") as connection:
        connection.execute("CREATE TABLE kept (line text)")
        connection.execute("INSERT INTO kept VALUES ('here')")
    with psycopg.connect(**place, password=held["password"], sslmode="require") as connection:
        assert connection.execute("SELECT line FROM kept").fetchall() == [("here",)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(**place, password="guessed", sslmode="require")  # noqa: S106
    with pytest.raises(psycopg.OperationalError, match="TLS"):
        psycopg.connect(**place, password=held["password"], sslmode="disable")
