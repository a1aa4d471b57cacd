"""Tables, queue, secrets, state machine, API, rules and outputs."""

import json
import re
from typing import Any

import pytest

from infra.constructs.stream_supervisor import DEFINITION
from tests.infra.conftest import Synthesized


def properties(synthesized: Synthesized, path: str) -> dict[str, Any]:
    return synthesized.named(path)[1]["Properties"]


def test_streams_are_keyed_by_stream_id_encrypted_and_recoverable(local: Synthesized):
    streams = properties(local, "Tables/Streams")
    assert streams["KeySchema"] == [{"AttributeName": "stream_id", "KeyType": "HASH"}]
    assert streams["BillingMode"] == "PAY_PER_REQUEST"
    assert streams["SSESpecification"] == {"SSEEnabled": True}
    assert streams["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TimeToLiveSpecification" not in streams


@pytest.mark.parametrize(("table", "key"), [("Replay", "nonce"), ("Reports", "relay_id")])
def test_short_lived_tables_forget(local: Synthesized, table: str, key: str):
    found = properties(local, f"Tables/{table}")
    assert found["KeySchema"] == [{"AttributeName": key, "KeyType": "HASH"}]
    assert found["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert found["SSESpecification"] == {"SSEEnabled": True}


def test_streams_and_secrets_of_prod_survive_their_stack(local: Synthesized, prod: Synthesized):
    for path in ("Tables/Streams", "Secrets/RelayKey", "Secrets/ApiToken"):
        assert prod.named(path)[1]["DeletionPolicy"] == "Retain"
        assert prod.named(path)[1]["UpdateReplacePolicy"] == "Retain"
        assert local.named(path)[1]["DeletionPolicy"] == "Delete"
    assert properties(prod, "Tables/Streams")["DeletionProtectionEnabled"] is True
    manifest = json.loads((prod.folder / "manifest.json").read_text())
    assert manifest["artifacts"][prod.stack]["properties"]["terminationProtection"] is True


def test_work_outlives_its_token_and_what_nobody_takes_becomes_a_dead_letter(local: Synthesized):
    work = properties(local, "WorkQueue/Work")
    dead_letters, _ = local.named("WorkQueue/DeadLetters")
    assert work["MessageRetentionPeriod"] == 3_600
    assert work["MessageRetentionPeriod"] > 900, "the capacity timeout of the policy"
    assert work["VisibilityTimeout"] == 30
    assert work["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": [dead_letters, "Arn"]},
        "maxReceiveCount": 5,
    }
    assert properties(local, "WorkQueue/DeadLetters")["MessageRetentionPeriod"] == 14 * 86_400


def test_secrets_are_generated_and_the_relay_key_is_256_bits_of_hex(local: Synthesized):
    key = properties(local, "Secrets/RelayKey")["GenerateSecretString"]
    assert key["PasswordLength"] == 64
    assert set("abcdefghijklmnopqrstuvwxyz") - set(key["ExcludeCharacters"]) == set("abcdef")
    assert key["ExcludeUppercase"] is True
    assert key["ExcludePunctuation"] is True
    assert key["RequireEachIncludedType"] is False
    assert properties(local, "Secrets/ApiToken")["GenerateSecretString"]["PasswordLength"] == 48
    assert "SecretString" not in json.dumps(local.template).replace("GenerateSecretString", "")


def test_the_machine_is_the_file_with_every_substitution_given(local: Synthesized):
    machine = properties(local, "StreamSupervisor/Machine")
    definition = json.loads(machine["DefinitionString"])
    assert definition == json.loads(DEFINITION.read_text())
    wanted = set(re.findall(r"\$\{(\w+)\}", machine["DefinitionString"]))
    assert set(machine["DefinitionSubstitutions"]) == wanted
    for function in ("AcquireLease", "ClassifyOutcome", "ReleaseLease"):
        function_id, _ = local.named(function)
        assert machine["DefinitionSubstitutions"][f"{function}Arn"] == {"Fn::GetAtt": [function_id, "Arn"]}
    assert machine["DefinitionSubstitutions"]["WorkQueueUrl"] == {"Ref": local.named("WorkQueue/Work")[0]}
    assert machine["DefinitionSubstitutions"]["StreamsTable"] == {"Ref": local.named("Tables/Streams")[0]}


def test_the_machine_is_standard_traced_and_logs_errors_without_tokens(local: Synthesized):
    machine = properties(local, "StreamSupervisor/Machine")
    assert machine["StateMachineName"] == "livedub-local-stream-supervisor"
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == "ERROR"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_the_api_has_these_routes(local: Synthesized):
    integrations = local.of_type("AWS::ApiGatewayV2::Integration")
    functions = {
        local.named(name)[0]: name
        for name in ("OnPublish", "OnUnpublish", "AuthorizeMedia", "ReconcileStreams", "StreamApi")
    }
    found: dict[str, str] = {}
    for route in local.of_type("AWS::ApiGatewayV2::Route").values():
        integration = integrations[route["Properties"]["Target"]["Fn::Join"][1][1]["Ref"]]["Properties"]
        assert integration["PayloadFormatVersion"] == "2.0"
        found[route["Properties"]["RouteKey"]] = functions[integration["IntegrationUri"]["Fn::GetAtt"][0]]
    assert found == {
        "POST /v1/hooks/publish": "OnPublish",
        "POST /v1/hooks/unpublish": "OnUnpublish",
        "POST /v1/media/authorize": "AuthorizeMedia",
        "POST /v1/media/paths": "ReconcileStreams",
        "GET /v1/streams": "StreamApi",
        "GET /v1/streams/{stream_id}": "StreamApi",
        "PUT /v1/streams/{stream_id}": "StreamApi",
        "POST /v1/streams/{stream_id}/start": "StreamApi",
        "POST /v1/streams/{stream_id}/stop": "StreamApi",
        "POST /v1/streams/{stream_id}/drain": "StreamApi",
        "PATCH /v1/streams/{stream_id}/settings": "StreamApi",
        "GET /v1/streams/{stream_id}/events": "StreamApi",
    }


def test_the_api_bounds_its_rate_and_logs_neither_path_nor_query(prod: Synthesized):
    stage = properties(prod, "ControlApi/DefaultStage")
    assert stage["StageName"] == "$default"
    assert stage["AutoDeploy"] is True
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 500, "ThrottlingBurstLimit": 1_000}
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert logged["route"] == "$context.routeKey"
    assert not [value for value in logged.values() if "path" in value.lower() or "query" in value.lower()]


def test_executions_that_died_are_watched(local: Synthesized):
    rule = properties(local, "RepairTriggers/ExecutionDied")
    machine, _ = local.named("StreamSupervisor/Machine")
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "status": ["ABORTED", "TIMED_OUT", "FAILED"],
            "stateMachineArn": [{"Ref": machine}],
        },
    }
    assert rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [local.named("ExecutionWatch")[0], "Arn"]}


def test_reconcile_runs_every_minute(local: Synthesized):
    rule = properties(local, "RepairTriggers/Reconcile")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [local.named("ReconcileStreams")[0], "Arn"]}


def test_outputs_have_their_fixed_names_and_hold_no_secret(local: Synthesized):
    outputs = {name: output["Value"] for name, output in local.template["Outputs"].items()}
    api, _ = local.named("ControlApi/Api")
    assert outputs == {
        "HookApiUrl": {"Fn::GetAtt": [api, "ApiEndpoint"]},
        "StreamsTable": {"Ref": local.named("Tables/Streams")[0]},
        "WorkQueueUrl": {"Ref": local.named("WorkQueue/Work")[0]},
        "StateMachineArn": {"Ref": local.named("StreamSupervisor/Machine")[0]},
        "RelayKeySecret": {"Ref": local.named("Secrets/RelayKey")[0]},
        "ApiTokenSecret": {"Ref": local.named("Secrets/ApiToken")[0]},
    }
