"""What the control plane's service leaves for the others, without starting any."""

from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from local import make_buckets
from local.aws.deployment import Deployed
from local.control_plane import ControlPlane
from local.orchestration import agent_variables, left_for_others, orchestrate, relay_variables
from media_edge.mediamtx.relay.settings import RelaySettings
from media_edge.worker.agent.settings import AgentSettings

DEPLOYED = Deployed(
    hook_api_url="http://localhost:5601/_local/api/abc",
    streams_table="streams",
    work_queue_url="http://localhost:5601/queue/work",
    state_machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:stream-supervisor",
    relay_key_secret="relay-key",  # noqa: S106 - a name
    api_token_secret="api-token",  # noqa: S106 - a name
)
KEY = "00112233445566778899aabbccddeeff"
ADDRESSES = {"RELAY_PLAY_BASE_URL": "rtmp://127.0.0.1", "RELAY_PUBLISH_BASE_URL": "rtmp://127.0.0.1"}


@pytest.fixture
def control() -> ControlPlane:
    return ControlPlane("http://localhost:5601", DEPLOYED, relay_key=KEY, api_token="t0ken")  # noqa: S106 - of this test


def test_a_relay_takes_what_is_left_and_finds_the_key(
    control: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with left_for_others(control, tmp_path):
        for name, value in {**relay_variables(control, tmp_path / "relay.key"), **ADDRESSES}.items():
            monkeypatch.setenv(name, value)
        settings = RelaySettings.load()
        assert settings.api_url == DEPLOYED.hook_api_url
        assert settings.key() == bytes.fromhex(KEY)


def test_an_agent_takes_what_is_left(control: ControlPlane, monkeypatch: pytest.MonkeyPatch):
    told = agent_variables(control)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert AgentSettings().work_queue_url == DEPLOYED.work_queue_url  # pyright: ignore[reportCallIssue]
    assert told["AWS_ENDPOINT_URL"] == control.endpoint
    assert "AWS_PROFILE" not in told  # where there is none, none need be forgotten


def test_only_its_user_reads_it_and_nothing_stays(control: ControlPlane, tmp_path: Path):
    with left_for_others(control, tmp_path):
        left = sorted(tmp_path.iterdir())
        assert [path.name for path in left] == ["agent.env", "relay.env", "relay.key"]
        assert {path.stat().st_mode & 0o777 for path in left} == {0o600}
        assert KEY not in "".join((tmp_path / name).read_text() for name in ("agent.env", "relay.env"))
    assert list(tmp_path.iterdir()) == []


NOT_WRITABLE = r"--run-dir \(LIVEDUB_RUN_DIR\) .*/file cannot be written to"


def test_a_folder_that_cannot_be_written_to_is_named(control: ControlPlane, tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match=NOT_WRITABLE), left_for_others(control, file):
        pytest.fail("nothing was left")


async def test_a_folder_that_cannot_be_written_to_is_named_before_anything_starts(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match=NOT_WRITABLE):
        await orchestrate(file, {})


def test_buckets_are_not_made_in_aws(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("S3_ENDPOINT_URL", "")
    assert make_buckets.main() == make_buckets.EXIT_FAILED
    assert "S3_ENDPOINT_URL is not set" in capsys.readouterr().err
