"""The two stores, on moto: versions, marks, and going back to what was served."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.secretsmanager.models import FakeSecret

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.media_cache.tls_material import TlsMaterial, self_signed
from livedub.media_cache.tls_rotation.rotation_store import RotationStarter, TlsRotationStore
from livedub.media_cache.tls_rotation.settle import keep, take_back
from livedub.media_cache.tls_rotation.start import started_for
from livedub.media_cache.tls_rotation.versions import Versions
from livedub.supervision.store_errors import StoreUnavailableError

CHAIN = "/livedub/test/media/MEDIA_TLS_FULLCHAIN_B64"
SECRET = "livedub/test/media/secrets"  # noqa: S105 - its name
GOOD, NEW = self_signed(["10.0.1.30"]), self_signed(["10.0.1.30"])


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


class Stores:
    """What an operator writes, and what lies there."""

    def __init__(self) -> None:
        self.ssm: Any = boto3.client("ssm", region_name="us-east-1")
        self.secrets: Any = boto3.client("secretsmanager", region_name="us-east-1")
        self.secrets.create_secret(Name=SECRET, SecretString=json.dumps(self.held("")))
        self.store = TlsRotationStore(self.ssm, self.secrets, "livedub/test")

    @staticmethod
    def held(key: str) -> dict[str, str]:
        return {"MEDIA_TLS_PRIVKEY_B64": key, "MEDIA_UPLOAD_TOKEN": "tok-0123456789abcdef"}

    def set_chain(self, material: TlsMaterial) -> None:
        value = b64(material.fullchain_pem)
        self.ssm.put_parameter(Name=CHAIN, Value=value, Type="String", Overwrite=True)

    def set_key(self, material: TlsMaterial) -> None:
        held = json.dumps(self.held(b64(material.privkey_pem)))
        self.secrets.put_secret_value(SecretId=SECRET, SecretString=held)

    def set_both(self, material: TlsMaterial) -> Versions:
        self.set_key(material)
        self.set_chain(material)
        return self.store.pair().versions

    def now(self) -> tuple[str, dict[str, str]]:
        found = self.ssm.get_parameters(Names=[CHAIN])["Parameters"]
        held = self.secrets.get_secret_value(SecretId=SECRET)["SecretString"]
        return (found[0]["Value"] if found else "", json.loads(held))

    def holding(self, material: TlsMaterial) -> tuple[str, dict[str, str]]:
        return b64(material.fullchain_pem), self.held(b64(material.privkey_pem))


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    reset = FakeSecret.reset_default_version

    def kept(self: Any, version: Any, version_id: str) -> None:
        """moto drops labels of ours when a version stops being the current one; Secrets Manager does not."""
        before = self.versions.get(self.default_version_id, {})
        ours = [stage for stage in before.get("version_stages", []) if not stage.startswith("AWS")]
        reset(self, version, version_id)
        if before:
            before["version_stages"] += ours

    monkeypatch.setattr(FakeSecret, "reset_default_version", kept)
    with mock_aws():
        yield Stores()


def test_what_is_there_is_read_with_its_versions(stores: Stores):
    empty = stores.store.pair()
    assert (empty.versions.parameter, empty.versions.chain, empty.chain_b64, empty.key_b64) == (0, "", "", "")
    versions = stores.set_both(NEW)
    pair = stores.store.pair()
    assert (pair.chain_b64, pair.key_b64) == (b64(NEW.fullchain_pem), b64(NEW.privkey_pem))
    assert stores.store.chain() == (versions, pair.chain_b64)
    assert versions.parameter == 1
    assert b64(NEW.privkey_pem) not in repr(pair)


def test_every_write_is_another_version(stores: Stores):
    seen = [stores.set_both(NEW), stores.set_both(NEW)]
    stores.set_chain(NEW)
    seen.append(stores.store.pair().versions)
    assert len({versions.name for versions in seen}) == 3
    assert len(seen[0].name) <= 80


def test_a_parameter_that_was_deleted_begins_anew_and_is_another_one(stores: Stores):
    before = stores.set_both(NEW)
    stores.ssm.delete_parameter(Name=CHAIN)
    stores.set_chain(GOOD)
    after = stores.store.pair().versions
    assert (after.parameter, after.secret) == (before.parameter, before.secret)
    assert after != before
    assert after.name != before.name


def test_what_was_served_comes_back_and_everything_else_in_the_secret_stays(stores: Stores):
    good = stores.set_both(GOOD)
    assert keep(stores.store, good) == {"verdict": "kept"}
    new = stores.set_both(NEW)
    assert take_back(stores.store, new) == {"verdict": "restored"}
    assert stores.now() == stores.holding(GOOD)
    # And once more: what was put back is what is marked.
    again = stores.set_both(NEW)
    token = {**stores.holding(NEW)[1], "MEDIA_UPLOAD_TOKEN": "tok-of-tomorrow-0000"}
    stores.secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(token))
    assert take_back(stores.store, again) == {"verdict": "superseded"}
    assert take_back(stores.store, stores.store.pair().versions) == {"verdict": "restored"}
    chain, held = stores.now()
    assert chain == b64(GOOD.fullchain_pem)
    assert held == {**stores.holding(GOOD)[1], "MEDIA_UPLOAD_TOKEN": "tok-of-tomorrow-0000"}


def test_where_nothing_was_served_nothing_is_what_comes_back(stores: Stores):
    new = stores.set_both(NEW)
    assert take_back(stores.store, new) == {"verdict": "restored"}
    assert stores.now() == ("", stores.held(""))


def test_what_is_served_already_is_not_written_again(stores: Stores):
    good = stores.set_both(GOOD)
    keep(stores.store, good)
    assert keep(stores.store, good) == {"verdict": "kept"}
    assert take_back(stores.store, good) == {"verdict": "unchanged"}
    assert stores.store.pair().versions == good


def test_half_of_what_was_served_is_not_put_back(stores: Stores):
    """With half a pair a host does not start; without any it serves what it has."""
    keep(stores.store, stores.set_both(GOOD))
    stores.ssm.delete_parameter(Name=CHAIN)
    new = stores.set_both(NEW)
    assert take_back(stores.store, new) == {"verdict": "restored"}
    assert stores.now() == ("", stores.held(""))


def test_going_back_is_taken_up_again_where_it_broke_off(stores: Stores, monkeypatch: pytest.MonkeyPatch):
    keep(stores.store, stores.set_both(GOOD))
    new = stores.set_both(NEW)

    def cut(*_arguments: Any, **_options: Any) -> None:
        raise StoreUnavailableError("as told")

    for broken in ("_write_chain", "mark_served"):
        with monkeypatch.context() as patched:
            patched.setattr(stores.store, broken, cut)
            with pytest.raises(StoreUnavailableError):
                take_back(stores.store, new)
    assert take_back(stores.store, new)["verdict"] in {"restored", "unchanged"}
    assert stores.now() == stores.holding(GOOD)


def test_a_mark_that_somebody_moved_meanwhile_is_moved_from_there(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
):
    keep(stores.store, stores.set_both(GOOD))
    elsewhere = stores.set_both(NEW)
    keep(stores.store, elsewhere)
    versions = stores.set_both(GOOD)
    real, stale = stores.store._stages, {**stores.store._stages(), "LIVEDUB_SERVED": versions.secret[::-1]}
    answers = [stale]
    monkeypatch.setattr(stores.store, "_stages", lambda: answers.pop() if answers else real())
    stores.store.mark_served(versions)
    assert real()["LIVEDUB_SERVED"] == versions.secret


def test_the_mark_follows_what_is_served(stores: Stores):
    for material in (GOOD, NEW):
        assert keep(stores.store, stores.set_both(material)) == {"verdict": "kept"}
    take_back(stores.store, stores.set_both(GOOD))
    assert stores.now() == stores.holding(NEW)


def test_what_is_newer_is_neither_marked_nor_taken_back(stores: Stores):
    old = stores.set_both(GOOD)
    stores.set_both(NEW)
    assert keep(stores.store, old) == take_back(stores.store, old) == {"verdict": "superseded"}
    assert stores.now() == stores.holding(NEW)


def test_a_secret_that_is_no_object_is_said_without_its_value(stores: Stores):
    stores.secrets.put_secret_value(SecretId=SECRET, SecretString="s3cr3t")
    with pytest.raises(ConfigurationError) as raised:
        stores.store.pair()
    assert "s3cr3t" not in str(raised.value)


class TestStart:
    ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:rotate"

    def starter(self) -> tuple[RotationStarter, Any]:
        client: Any = boto3.client("stepfunctions", region_name="us-east-1")
        client.create_state_machine(
            name="rotate",
            definition='{"StartAt": "a", "States": {"a": {"Type": "Succeed"}}}',
            roleArn="arn:aws:iam::123456789012:role/any",
        )
        return RotationStarter(self.ARN, client), client

    def names(self, client: Any) -> list[str]:
        return [one["name"] for one in client.list_executions(stateMachineArn=self.ARN)["executions"]]

    def test_a_burst_starts_one(self, stores: Stores):
        starter, client = self.starter()
        versions = stores.set_both(NEW)
        answers = [started_for(stores.store, starter) for _ in range(20)]
        assert {answer["execution"] for answer in answers} == {versions.name}
        assert answers[0]["started"] is True
        (name,) = self.names(client)
        found = client.describe_execution(
            executionArn=f"{self.ARN.replace(':stateMachine:', ':execution:')}:{name}"
        )
        assert Versions.of(json.loads(found["input"])["versions"]) == versions

    def test_without_a_certificate_there_is_nothing_to_do(self, stores: Stores):
        starter, client = self.starter()
        stores.set_key(NEW)
        assert started_for(stores.store, starter) == {"started": False, "execution": ""}
        assert self.names(client) == []

    def test_a_schedule_looks_once_an_hour_whatever_was_done(self, stores: Stores):
        starter, client = self.starter()
        versions = stores.set_both(NEW)
        for moment in ("2026-11-21T23:00:12Z", "2026-11-21T23:00:13Z", "2026-11-22T00:00:12Z"):
            started_for(stores.store, starter, moment)
        assert set(self.names(client)) == {
            f"{versions.name}-{hour}" for hour in ("20261121T23", "20261122T00")
        }
        assert max(map(len, self.names(client))) <= 80

    def test_what_a_failed_rotation_put_back_starts_none(self, stores: Stores):
        starter, client = self.starter()
        keep(stores.store, stores.set_both(GOOD))
        new = stores.set_both(NEW)
        assert started_for(stores.store, starter)["started"] is True
        take_back(stores.store, new)
        assert started_for(stores.store, starter)["started"] is False
        assert self.names(client) == [new.name]
        started_for(stores.store, starter, "2026-11-21T23:00:12Z")
        assert len(self.names(client)) == 2

    def test_half_of_what_was_served_is_not_what_was_served(self, stores: Stores):
        keep(stores.store, stores.set_both(GOOD))
        stores.set_key(GOOD)
        assert not stores.store.is_marked(stores.store.pair().versions)

    def test_a_machine_that_is_gone_is_an_error(self, stores: Stores):
        stores.set_both(NEW)
        gone = RotationStarter(f"{self.ARN}-gone", boto3.client("stepfunctions", region_name="us-east-1"))
        with pytest.raises(StoreUnavailableError):
            started_for(stores.store, gone)


@pytest.mark.parametrize("given", [{}, {"parameter": "1", "chain": "", "secret": ""}, {"parameter": 1}])
def test_versions_that_are_none_are_said(given: dict[str, Any]):
    with pytest.raises(InvalidInputError, match="start_tls_rotation"):
        Versions.of(given)
