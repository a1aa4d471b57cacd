"""Tables, queue, secrets, state machine, API, rules and outputs."""

import json
import re

import pytest

from infra.constructs.stream_supervisor import DEFINITION
from tests.infra.conftest import Part, Synthesized

KEPT = (
    "AWS::S3::Bucket",
    "AWS::SecretsManager::Secret",
    "AWS::RDS::DBInstance",
)


@pytest.fixture
def control(local: Synthesized) -> Part:
    return local.part("control-plane")


@pytest.fixture
def state(local: Synthesized) -> Part:
    return local.part("state")


def test_streams_are_keyed_by_stream_id_encrypted_and_recoverable(state: Part):
    streams = state.properties("Tables/Streams")
    assert streams["KeySchema"] == [{"AttributeName": "stream_id", "KeyType": "HASH"}]
    assert streams["BillingMode"] == "PAY_PER_REQUEST"
    assert streams["SSESpecification"] == {"SSEEnabled": True}
    assert streams["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TimeToLiveSpecification" not in streams


@pytest.mark.parametrize(("table", "key"), [("Replay", "nonce"), ("Reports", "relay_id")])
def test_short_lived_tables_forget(state: Part, table: str, key: str):
    found = state.properties(f"Tables/{table}")
    assert found["KeySchema"] == [{"AttributeName": key, "KeyType": "HASH"}]
    assert found["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert found["SSESpecification"] == {"SSEEnabled": True}


def test_streams_and_secrets_of_prod_survive_their_stack(local: Synthesized, prod: Synthesized):
    for environment, policy in ((prod, "Retain"), (local, "Delete")):
        kept = [resource for kind in KEPT for resource in environment.part("state").of_type(kind).values()]
        assert len(kept) == 10
        streams = environment.part("state").named("Tables/Streams")[1]
        # One with a name of ours goes with a first deployment that failed.
        named = {policy if "Name" not in each["Properties"] else f"{policy}ExceptOnCreate" for each in kept}
        allowed = named if policy == "Retain" else {policy}
        assert {resource["DeletionPolicy"] for resource in (*kept, streams)} == allowed
        assert {resource["UpdateReplacePolicy"] for resource in (*kept, streams)} == {policy}
    assert prod.part("state").properties("Tables/Streams")["DeletionProtectionEnabled"] is True
    [database] = prod.part("state").of_type("AWS::RDS::DBInstance").values()
    assert database["Properties"]["DeletionProtection"] is True


def test_every_stack_of_prod_refuses_to_be_deleted(local: Synthesized, prod: Synthesized):
    for environment, protected in ((prod, True), (local, False)):
        for part in environment.parts.values():
            properties = environment.manifest["artifacts"][part.name]["properties"]
            assert properties.get("terminationProtection", False) is protected, part.name


def test_files_are_private_encrypted_versioned_and_reached_by_tls_alone(state: Part):
    buckets = state.of_type("AWS::S3::Bucket")
    assert len(buckets) == 2
    for bucket in buckets.values():
        properties = bucket["Properties"]
        assert "BucketName" not in properties
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
        rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
        kept = rules["versions-that-nobody-wanted-back"]["NoncurrentVersionExpiration"]
        assert kept == {"NoncurrentDays": 30}
    policies = json.dumps(list(state.of_type("AWS::S3::BucketPolicy").values()))
    assert policies.count('"aws:SecureTransport": "false"') == 2


def test_the_database_is_encrypted_backed_up_and_has_no_way_in_but_its_group(prod: Synthesized):
    [database] = prod.part("state").of_type("AWS::RDS::DBInstance").values()
    properties = database["Properties"]
    assert properties["PubliclyAccessible"] is False
    assert properties["StorageEncrypted"] is True
    assert properties["BackupRetentionPeriod"] == 7
    groups = [prod.origin("state", group) for group in properties["VPCSecurityGroups"]]
    group_id, _ = prod.part("network").named("Doors/Database")
    assert groups == [("network", {"Fn::GetAtt": [group_id, "GroupId"]})]


def test_work_outlives_its_token_and_what_nobody_takes_becomes_a_dead_letter(control: Part):
    work = control.properties("WorkQueue/Work")
    dead_letters, _ = control.named("WorkQueue/DeadLetters")
    assert work["MessageRetentionPeriod"] == 3_600
    assert work["MessageRetentionPeriod"] > 900, "the capacity timeout of the policy"
    assert work["VisibilityTimeout"] == 30
    assert work["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": [dead_letters, "Arn"]},
        "maxReceiveCount": 5,
    }
    assert control.properties("WorkQueue/DeadLetters")["MessageRetentionPeriod"] == 14 * 86_400


def test_secrets_are_generated_and_the_relay_key_is_256_bits_of_hex(state: Part):
    key = state.properties("Secrets/RelayKey")["GenerateSecretString"]
    assert key["PasswordLength"] == 64
    assert set("abcdefghijklmnopqrstuvwxyz") - set(key["ExcludeCharacters"]) == set("abcdef")
    assert key["ExcludeUppercase"] is True
    assert key["ExcludePunctuation"] is True
    assert key["RequireEachIncludedType"] is False
    assert state.properties("Secrets/ApiToken")["GenerateSecretString"]["PasswordLength"] == 64


def test_no_secret_is_in_a_template(local: Synthesized):
    """But the place for the key that RunPod gives, which is empty; and the names by which RDS reads what it made."""
    for part in local.parts.values():
        text = json.dumps(part.template)
        for name, resource in part.of_type("AWS::SecretsManager::Secret").items():
            held = resource["Properties"].get("SecretString", '{"STS_API_KEY":""}')
            assert held == '{"STS_API_KEY":""}', name
        read = text.count("{{resolve:")
        assert read == text.count(":SecretString:password::}}") + text.count(":SecretString:username::}}")


def test_the_machine_is_the_file_with_every_substitution_given(control: Part, local: Synthesized):
    machine = control.properties("StreamSupervisor/Machine")
    definition = json.loads(machine["DefinitionString"])
    assert definition == json.loads(DEFINITION.read_text())
    wanted = set(re.findall(r"\$\{(\w+)\}", machine["DefinitionString"]))
    assert set(machine["DefinitionSubstitutions"]) == wanted
    for function in ("AcquireLease", "ClassifyOutcome", "ReleaseLease"):
        function_id, _ = control.named(function)
        assert machine["DefinitionSubstitutions"][f"{function}Arn"] == {"Fn::GetAtt": [function_id, "Arn"]}
    assert machine["DefinitionSubstitutions"]["WorkQueueUrl"] == {"Ref": control.named("WorkQueue/Work")[0]}
    table = local.origin("control-plane", machine["DefinitionSubstitutions"]["StreamsTable"])
    assert table == ("state", {"Ref": local.part("state").named("Tables/Streams")[0]})


def test_the_machine_is_standard_traced_and_logs_errors_without_tokens(control: Part):
    machine = control.properties("StreamSupervisor/Machine")
    assert machine["StateMachineName"] == "livedub-local-stream-supervisor"
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == "ERROR"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_the_api_has_these_routes(control: Part):
    integrations = control.of_type("AWS::ApiGatewayV2::Integration")
    functions = {
        control.named(name)[0]: name
        for name in ("OnPublish", "OnUnpublish", "AuthorizeMedia", "ReconcileStreams", "StreamApi")
    }
    found: dict[str, str] = {}
    for route in control.of_type("AWS::ApiGatewayV2::Route").values():
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
        "POST /v1/streams/{stream_id}/key": "StreamApi",
        "POST /v1/streams/{stream_id}/start": "StreamApi",
        "POST /v1/streams/{stream_id}/stop": "StreamApi",
        "POST /v1/streams/{stream_id}/drain": "StreamApi",
        "PATCH /v1/streams/{stream_id}/settings": "StreamApi",
        "GET /v1/streams/{stream_id}/events": "StreamApi",
    }


def test_the_api_bounds_its_rate_and_logs_neither_path_nor_query(prod: Synthesized):
    stage = prod.part("control-plane").properties("ControlApi/DefaultStage")
    assert stage["StageName"] == "$default"
    assert stage["AutoDeploy"] is True
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 500, "ThrottlingBurstLimit": 1_000}
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert logged["route"] == "$context.routeKey"
    assert not [value for value in logged.values() if "path" in value.lower() or "query" in value.lower()]


def test_executions_that_died_are_watched(control: Part):
    rule = control.properties("RepairTriggers/ExecutionDied")
    machine, _ = control.named("StreamSupervisor/Machine")
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "status": ["ABORTED", "TIMED_OUT", "FAILED"],
            "stateMachineArn": [{"Ref": machine}],
        },
    }
    assert rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [control.named("ExecutionWatch")[0], "Arn"]}


def test_reconcile_runs_every_minute(control: Part):
    rule = control.properties("RepairTriggers/Reconcile")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [control.named("ReconcileStreams")[0], "Arn"]}


def test_outputs_have_their_fixed_names_and_hold_no_secret(control: Part, state: Part):
    api, _ = control.named("ControlApi/Api")
    assert {name: output["Value"] for name, output in control.outputs.items()} == {
        "HookApiUrl": {"Fn::GetAtt": [api, "ApiEndpoint"]},
        "WorkQueueUrl": {"Ref": control.named("WorkQueue/Work")[0]},
        "StateMachineArn": {"Ref": control.named("StreamSupervisor/Machine")[0]},
    }
    kept = {name: output["Value"] for name, output in state.outputs.items()}
    assert kept.pop("CatalogueSecret")["Ref"].startswith("CatalogueInstanceSecretAttachment")
    assert kept == {
        "StreamsTable": {"Ref": state.named("Tables/Streams")[0]},
        "RelayKeySecret": {"Ref": state.named("Secrets/RelayKey")[0]},
        "ApiTokenSecret": {"Ref": state.named("Secrets/ApiToken")[0]},
        "MediaBucketIn": {"Ref": state.named("Media/In")[0]},
        "MediaBucketOut": {"Ref": state.named("Media/Out")[0]},
        "LibraryApiTokenSecret": {"Ref": state.named("Library/ApiToken")[0]},
        "StsSecret": {"Ref": state.named("Sts/Secret")[0]},
        "VoiceSecret": {"Ref": state.named("Voice/Secret")[0]},
    }
