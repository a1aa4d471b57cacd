import pytest

from infra.config import EnvironmentConfig, environment_config
from infra.synthesis import located
from livedub.errors import ConfigurationError
from livedub.supervision.policy import SupervisionPolicy


@pytest.mark.parametrize("name", ["local", "dev", "staging", "prod"])
def test_every_environment_is_valid(name: str):
    config = environment_config(name)
    assert config.name == name
    assert config.checked_policy().supervise_timeout_s == 2_592_000


def test_an_unknown_environment_is_named_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'qa' does not exist.*local\|dev\|staging\|prod"):
        environment_config("qa")


def test_only_the_local_environment_admits_streams_nobody_created():
    admitted = {
        name: environment_config(name).checked_policy().unknown_streams
        for name in ("local", "dev", "staging", "prod")
    }
    assert admitted == {"local": "accept", "dev": "refuse", "staging": "refuse", "prod": "refuse"}


def test_the_policy_ignores_variables_of_the_machine_that_synthesizes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_HEARTBEAT_S", "77")
    monkeypatch.setenv("LIVEDUB_CAPACITY_TIMEOUT_S", "78")
    assert SupervisionPolicy().heartbeat_s == 77
    policy = environment_config("local").checked_policy()
    assert (policy.heartbeat_s, policy.capacity_timeout_s) == (6, 900)


def test_policy_variables_are_those_that_differ_written_as_functions_read_them(
    monkeypatch: pytest.MonkeyPatch,
):
    config = EnvironmentConfig(
        name="dev", policy={"heartbeat_s": 9, "default_stream_settings": {"target_language": "en"}}
    )
    variables = config.policy_variables()
    assert variables == {
        "LIVEDUB_HEARTBEAT_S": "9",
        "LIVEDUB_DEFAULT_STREAM_SETTINGS": '{"target_language": "en"}',
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert SupervisionPolicy().model_dump() == config.checked_policy().model_dump()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"account": "12"}, "account '12'"),
        ({"name": "Prod!"}, "name 'Prod!'"),
        ({"requests_per_s": 0}, "requests_per_s is 0"),
        ({"burst_requests": -1}, "burst_requests is -1"),
        ({"token_length": 16}, "token_length is 16"),
        ({"reserved_concurrency": {"OnPublish": 0}}, "reserved_concurrency of OnPublish is 0"),
        ({"policy": {"heartbeats": 3}}, "unknown fields: heartbeats"),
        ({"policy": {"heartbeat_s": 1}}, "heartbeat_s"),
    ],
)
def test_what_cannot_work_is_refused_before_synthesis(changed: dict[str, object], words: str):
    with pytest.raises(ConfigurationError, match=words):
        EnvironmentConfig(**{"name": "dev", **changed})  # pyright: ignore[reportArgumentType]


def test_account_and_region_are_those_of_the_command_unless_configured():
    logged_in = {"CDK_DEFAULT_ACCOUNT": "111122223333", "CDK_DEFAULT_REGION": "eu-west-1"}
    dev = located(environment_config("dev"), logged_in)
    assert (dev.account, dev.region) == ("111122223333", "eu-west-1")
    local = located(environment_config("local"), logged_in)
    assert (local.account, local.region) == ("123456789012", "us-east-1")
    nowhere = located(environment_config("dev"), {})
    assert (nowhere.account, nowhere.region) == (None, None)
