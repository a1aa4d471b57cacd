"""How the stack's parts are told about each other, without starting any."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from livedub.errors import ConfigurationError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from local.control_plane import ControlPlane
from local.media_cache import MediaCache
from local.media_servers.base import MediaServer
from local.processes import ChildProcess
from local.runpod.child import Emulator
from local.stack import Stack, StackOptions, _together
from media_edge.mediamtx.relay.settings import RelaySettings
from media_edge.worker.agent.settings import AgentSettings
from media_edge.worker.settings import WorkerSettings

DEPLOYED = {
    "hook_api_url": "http://localhost:5601/_local/api/abc",
    "streams_table": "streams",
    "work_queue_url": "http://localhost:5601/queue/work",
    "state_machine_arn": "arn:aws:states:us-east-1:123456789012:stateMachine:stream-supervisor",
    "relay_key_secret": "relay-key",
    "api_token_secret": "api-token",
}
TOKEN = "t0ken"  # noqa: S105 - of this test alone
KEY = "00112233445566778899aabbccddeeff"


class FakeServer:
    """As much of a media server as the settings of its neighbours need."""

    kind = "nginx-rtmp"
    rtmp_base_url = "rtmp://127.0.0.1:1935"
    control_url = "http://127.0.0.1:8081"


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    from local.aws.deployment import Deployed  # noqa: PLC0415 - boto3 is heavy

    options = StackOptions(target="fr", worker_env={"WORKER_SEPARATION": "off"}, server="nginx-rtmp")
    made = Stack(
        options,
        run_dir=tmp_path,
        log_dir=tmp_path / "logs",
        events_dir=tmp_path / "events",
        on_event=lambda _event: None,
    )
    made.server = cast("MediaServer", FakeServer())
    made._control = ControlPlane(
        "http://localhost:5601", Deployed(**DEPLOYED), relay_key=KEY, api_token=TOKEN
    )
    made.sts_url = "http://127.0.0.1:8000"
    return made


def given(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


def test_the_relay_finds_server_control_plane_and_key(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    given(monkeypatch, {**stack.relay_env()})
    settings = RelaySettings.load()
    assert settings.api_url == DEPLOYED["hook_api_url"]
    assert settings.server == "nginx"
    assert settings.server_api_url == FakeServer.control_url
    assert settings.key() == bytes.fromhex(KEY)
    assert settings.media.kick_url == f"http://127.0.0.1:{stack.relay_port}/v1/kick"
    assert stack.server is not None


def test_an_agent_finds_queue_and_table_and_its_workers_their_defaults(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    variables = stack.agent_env("agent-1")
    given(monkeypatch, variables)
    settings = AgentSettings()  # pyright: ignore[reportCallIssue] - from the environment
    assert settings.name == "agent-1"
    assert settings.work_queue_url == DEPLOYED["work_queue_url"]
    assert settings.streams_table == DEPLOYED["streams_table"]
    assert stack.events_path("gala") == tmp_path / "events" / "gala.jsonl"
    assert variables["WORKER_TARGET_LANGUAGE"] == "fr"
    assert variables["WORKER_SEPARATION"] == "off"
    assert variables["STS_SERVICE_URL"] == "http://127.0.0.1:8000"


def test_no_profile_of_the_users_reaches_an_agent(stack: Stack):
    variables = stack.agent_env("agent-1")
    assert variables["AWS_ENDPOINT_URL"] == "http://localhost:5601"
    assert variables["AWS_PROFILE"] is None


def test_agents_speak_to_the_queue_that_the_stack_started(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    stack.emulator = Emulator(cast("ChildProcess", None), "http://127.0.0.1:8791", KEY)
    assert KEY not in repr(stack.emulator)
    given(monkeypatch, stack.agent_env("agent-1"))
    settings = WorkerSettings(input_url="rtmp://h/live/a/in", output_url="rtmp://h/live/a/out", stream_id="a")
    assert settings.sts_url == "runpod://livedub-sts"
    assert settings.sts_runpod_base_url == "http://127.0.0.1:8791/v2"
    assert settings.sts_api_key.get_secret_value() == KEY


def test_workers_are_told_of_the_media_cache_beside_them(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    assert "TTS_MEDIA_CACHE_BASE_URL" not in stack.agent_env("agent-1")
    variables = {
        "TTS_MEDIA_CACHE_BASE_URL": "https://127.0.0.1:8443",
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN": TOKEN,
        "TTS_MEDIA_CACHE_CA_BUNDLE": "",
    }
    stack.media_cache = MediaCache(cast("ChildProcess", None), variables)
    assert TOKEN not in repr(stack.media_cache)
    given(monkeypatch, stack.agent_env("agent-1"))
    settings = MediaCacheSettings.load()
    assert settings.base_urls == (stack.media_cache.url,)
    assert settings.upload_token.get_secret_value() == TOKEN


def test_a_service_cannot_be_started_and_named(tmp_path: Path):
    options = StackOptions(sts="runpod", sts_url="runpod://abc", server="nginx-rtmp")
    with pytest.raises(ConfigurationError, match="--sts runpod"):
        Stack(options, run_dir=tmp_path, log_dir=tmp_path, events_dir=tmp_path, on_event=lambda _event: None)


def test_secrets_are_in_no_representation(stack: Stack):
    assert KEY not in repr(stack.control)
    assert "t0ken" not in repr(stack.control)
    assert "t0ken" not in repr(stack.control.access)


def test_a_stack_that_has_not_started_has_no_control_plane(tmp_path: Path):
    idle = Stack(
        StackOptions(server="nginx-rtmp"),
        run_dir=tmp_path,
        log_dir=tmp_path,
        events_dir=tmp_path,
        on_event=lambda _event: None,
    )
    with pytest.raises(RuntimeError, match="outside its context"):
        _ = idle.control


async def test_the_first_part_that_fails_ends_the_others():
    ended = asyncio.Event()

    async def lasts() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("no port")

    with pytest.raises(OSError, match="no port"):
        await _together(lasts(), fails())
    assert ended.is_set()


@pytest.mark.parametrize("line", ["not json", "[1]", "3"])
def test_what_an_agent_prints_beside_events_is_left_out(stack: Stack, line: str):
    heard: list[dict[str, object]] = []
    stack._on_event = heard.append
    stack._hear(line)
    stack._hear('{"event": "ready"}')
    assert heard == [{"event": "ready"}]
