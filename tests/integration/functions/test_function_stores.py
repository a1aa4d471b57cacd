from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from livedub.errors import ConfigurationError
from livedub.supervision.contract import PathReport, PublishedPath
from livedub.supervision.execution_client import ExecutionClient
from livedub.supervision.path_report_store import PathReportStore
from livedub.supervision.replay_guard_store import ReplayGuardStore
from livedub.supervision.secret_store import SecretStore
from livedub.supervision.store_errors import StoreUnavailableError
from tests.unit.functions.rig import KEY, MEDIA, NOW_MS, OLD_KEY, TOKEN


class TestReplayGuard:
    def test_a_nonce_passes_once_and_is_forgotten_by_the_table(self, dynamodb: Any):
        guard = ReplayGuardStore("replay", dynamodb, keep_ms=600_000)
        assert guard.first_use("nonce-1", NOW_MS)
        assert not guard.first_use("nonce-1", NOW_MS)
        assert not ReplayGuardStore("replay", dynamodb).first_use("nonce-1", NOW_MS)
        assert guard.first_use("nonce-2", NOW_MS)
        item = dynamodb.get_item(TableName="replay", Key={"nonce": {"S": "nonce-1"}})["Item"]
        assert item["expires_at"] == {"N": str(NOW_MS // 1_000 + 600)}

    def test_a_write_whose_answer_got_lost_is_no_replay(self, dynamodb: Any):
        class Lossy:
            exceptions = dynamodb.exceptions

            def put_item(self, **request: Any) -> Any:
                dynamodb.put_item(**request)
                return dynamodb.put_item(**request)  # botocore sends it again

        assert ReplayGuardStore("replay", Lossy()).first_use("nonce-1", NOW_MS)


class TestPathReports:
    @staticmethod
    def report(relay_id: str, taken_at_ms: int, *paths: str) -> PathReport:
        listed = [PublishedPath(path=path, source_id="x") for path in paths]
        return PathReport(relay_id=relay_id, taken_at_ms=taken_at_ms, media=MEDIA, paths=listed)

    def test_the_latest_of_each_relay_is_kept(self, dynamodb: Any):
        store = PathReportStore("reports", dynamodb)
        later = self.report("m-1", 2_000, "live/a/in")
        assert store.keep(later)
        assert not store.keep(self.report("m-1", 1_000))
        assert store.keep(later)
        other = self.report("m-2", 500)
        assert store.keep(other)
        assert store.list_all() == [later, other]

    def test_the_largest_list_fits_into_a_row(self, dynamodb: Any):
        report = self.report("m-1", 1, *[f"live/{number:050}/in" for number in range(2_500)])
        assert len(report.model_dump_json()) > 200_000
        PathReportStore("reports", dynamodb).keep(report)
        assert PathReportStore("reports", dynamodb).list_all() == [report]

    def test_a_list_of_another_version_counts_as_not_sent(self, dynamodb: Any):
        dynamodb.put_item(
            TableName="reports", Item={"relay_id": {"S": "m-0"}, "report": {"S": '{"schema_version": 9}'}}
        )
        assert PathReportStore("reports", dynamodb).list_all() == []


class TestSecrets:
    def test_keys_are_read_one_a_line_and_kept_for_a_minute(self, aws: None):
        manager = boto3.client("secretsmanager")
        seconds = [0.0]
        store = SecretStore(manager, monotonic=lambda: seconds[0])
        assert store.keys("relay-keys") == (KEY, OLD_KEY)
        manager.put_secret_value(SecretId="relay-keys", SecretString=OLD_KEY.hex())
        seconds[0] = 59
        assert store.keys("relay-keys") == (KEY, OLD_KEY)
        seconds[0] = 61
        assert store.keys("relay-keys") == (OLD_KEY,)
        assert store.text("api-token") == TOKEN

    def test_an_outage_does_not_forget_what_was_known(self, aws: None):
        manager = boto3.client("secretsmanager")

        class Cut:
            cut = False
            asked = 0

            def get_secret_value(self, **request: Any) -> Any:
                self.asked += 1
                if self.cut:
                    raise EndpointConnectionError(endpoint_url="http://localhost:1")
                return manager.get_secret_value(**request)

        client = Cut()
        seconds = [0.0]
        store = SecretStore(client, monotonic=lambda: seconds[0])
        assert store.text("api-token") == TOKEN
        client.cut = True
        seconds[0] = 3_600
        assert store.text("api-token") == TOKEN
        seconds[0] += 9
        assert store.text("api-token") == TOKEN
        assert client.asked == 2
        seconds[0] += 2
        assert store.text("api-token") == TOKEN
        assert client.asked == 3
        with pytest.raises(StoreUnavailableError):
            store.text("relay-keys")

    @pytest.mark.parametrize("value", ["not hex at all", "abcd", f"{KEY.hex()}\nabcd"])
    def test_what_holds_no_keys_is_refused_without_quoting_it(self, aws: None, value: str):
        manager = boto3.client("secretsmanager")
        manager.put_secret_value(SecretId="relay-keys", SecretString=value)
        with pytest.raises(ConfigurationError, match="relay-keys") as caught:
            SecretStore(manager).keys("relay-keys")
        assert value not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_missing_or_empty_secret_is_an_error(self, aws: None):
        manager = boto3.client("secretsmanager")
        manager.put_secret_value(SecretId="api-token", SecretString=" \n")
        store = SecretStore(manager)
        with pytest.raises(ConfigurationError, match="empty"):
            store.text("api-token")
        with pytest.raises(StoreUnavailableError, match="no-such"):
            store.text("no-such")


class TestExecutions:
    @pytest.fixture
    def executions(self, aws: None) -> ExecutionClient:
        client = boto3.client("stepfunctions")
        arn = client.create_state_machine(
            name="m",
            definition='{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}',
            roleArn="arn:aws:iam::123456789012:role/any",
        )["stateMachineArn"]
        return ExecutionClient(arn, client)

    def test_a_repeated_start_is_one_start(self, executions: ExecutionClient):
        assert executions.start("s", "run-1")
        assert executions.start("s", "run-1")

    def test_a_name_of_one_that_ended_is_used_up(self, executions: ExecutionClient):
        executions.start("s", "run-1")
        executions.stop("run-1", "enough")
        assert not executions.start("s", "run-1")

    def test_stopping_what_is_over_or_never_was_is_fine(self, executions: ExecutionClient):
        executions.start("s", "run-1")
        executions.stop("run-1", "enough")
        executions.stop("run-1", "again")
        executions.stop("nobody", "x")
