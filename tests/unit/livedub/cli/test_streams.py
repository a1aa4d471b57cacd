import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from livedub.cli import main, streams
from livedub.errors import ConfigurationError, InvalidInputError, LivedubError
from livedub.supervision.record import JournalEntry, Lease, Outcome, Phase, Source, StreamRecord
from livedub.supervision.stream_api_client import StreamApiUnavailableError
from tests.unit.livedub.cli.fake_stream_api import NOW_MS, TOKEN, FakeStreamApi

runner = CliRunner()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeStreamApi]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(streams, "_now_ms", lambda: NOW_MS)
    with FakeStreamApi() as fake:
        monkeypatch.setenv("LIVEDUB_API_URL", fake.url)
        monkeypatch.setenv("LIVEDUB_API_TOKEN", TOKEN)
        yield fake


def run(*arguments: str) -> Result:
    return runner.invoke(main.app, ["streams", *arguments])


def done(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def on_air(stream_id: str, **lease: Any) -> StreamRecord:
    return StreamRecord(
        stream_id,
        source=Source("conn-7", NOW_MS - 240_000),
        lease=Lease(
            **{
                "generation": 3,
                "phase": Phase.RUNNING,
                "execution": "e",
                "agent_id": "host-12",
                "expires_at_ms": NOW_MS + 20_000,
                "acquired_at_ms": NOW_MS - 240_000,
                "claimed_at_ms": NOW_MS - 239_000,
                **lease,
            }
        ),
    )


def test_the_list_says_what_each_stream_does_since_when_and_why(api: FakeStreamApi):
    waiting = on_air("gala", phase=Phase.WAITING_CAPACITY, agent_id="", claimed_at_ms=None)
    api.records = {"gala": waiting, "news": on_air("news"), "old": StreamRecord("old")}
    shown = [" ".join(line.split()) for line in done("list").splitlines()]
    assert shown == [
        "stream state for gen restarts agent",
        "gala waiting for capacity 4 min 3 0 -",
        "no host has a free slot yet",
        "news running 3 min 3 0 host-12",
        "old idle - 0 0 -",
        "no publisher yet",
    ]


def test_an_empty_list_says_what_makes_a_stream(api: FakeStreamApi):
    assert "livedub streams create ID" in done("list")


def test_json_is_what_the_api_answered(api: FakeStreamApi):
    api.records = {"news": on_air("news")}
    assert json.loads(done("list", "--json"))["streams"][0]["state"] == "running"
    assert json.loads(done("show", "news", "--json"))["stream"]["generation"] == 3
    assert json.loads(done("events", "news", "--json")) == {"events": []}


def test_show_has_the_settings_and_how_the_last_run_ended(api: FakeStreamApi):
    record = on_air("news")
    api.records["news"] = replace(
        record,
        settings={"target_language": "fr", "glossary": {"gol": "but"}},
        settings_revision=4,
        last_outcome=Outcome.CRASHED,
        last_detail="exit code 7 [see log]",
    )
    shown = done("show", "news")
    for text in (
        "target_language",
        "fr",
        '{"gol": "but"}',
        "revision",
        "conn-7",
        "crashed: exit code 7 [see log]",
    ):
        assert text in shown


def test_a_created_streams_key_is_shown_and_an_open_one_has_none(api: FakeStreamApi):
    assert "k3y" in done("create", "gala", "target_language=fr", "delay_ms=6000")
    assert api.asked[-1] == (
        "PUT",
        "/v1/streams/gala",
        {"settings": {"target_language": "fr", "delay_ms": 6000}, "open": False},
    )
    assert "k3y" not in done("create", "gala", "target_language=fr")
    assert "stream key" not in done("create", "show", "--open")


def test_a_new_key_is_asked_for_and_shown(api: FakeStreamApi):
    api.records = {"news": on_air("news")}
    assert "n3w-k3y" in done("new-key", "news")
    assert api.asked[-1] == ("POST", "/v1/streams/news/key", None)


@pytest.mark.parametrize(
    ("command", "desired"), [("start", "running"), ("stop", "stopped"), ("drain", "drained")]
)
def test_what_an_operator_wants_is_asked_and_shown(api: FakeStreamApi, command: str, desired: str):
    api.records = {"news": on_air("news")}
    assert json.loads(done(command, "news", "--json"))["desired"] == desired
    assert api.asked[-1][:2] == ("POST", f"/v1/streams/news/{command}")


def test_settings_are_typed_as_they_are_written(api: FakeStreamApi):
    api.records = {"news": on_air("news")}
    done("set", "news", "target_language=fr", "dub_gain_db=-3", 'glossary={"gol": "but"}', "voice=fr/siwis")
    assert api.records["news"].settings == {
        "target_language": "fr",
        "dub_gain_db": -3,
        "glossary": {"gol": "but"},
        "voice": "fr/siwis",
    }


def test_a_setting_that_needs_a_new_worker_is_refused_with_the_remedy_until_allowed(api: FakeStreamApi):
    api.records = {"news": on_air("news")}
    refused = run("set", "news", "delay_ms=5000")
    assert refused.exit_code == 1
    assert "RESTART_REQUIRED" in refused.output
    assert "restart" in refused.output.splitlines()[-1]
    done("set", "news", "delay_ms=5000", "--restart")
    assert api.records["news"].settings == {"delay_ms": 5000}


def test_a_stream_nobody_created_is_refused_by_name(api: FakeStreamApi):
    refused = run("show", "gone")
    assert refused.exit_code == 1
    assert "UNKNOWN_STREAM" in refused.output
    assert "Create it first." in refused.output


def test_events_are_listed_oldest_first(api: FakeStreamApi):
    journal = (JournalEntry(NOW_MS, "acquired", 1, "by e"), JournalEntry(NOW_MS + 5, "released", 1))
    api.records["news"] = replace(on_air("news"), journal=journal)
    shown = done("events", "news")
    assert shown.index("acquired") < shown.index("released")


def test_nothing_happened_yet_is_said(api: FakeStreamApi):
    api.records["news"] = on_air("news")
    assert "Nothing has happened to news yet." in done("events", "news")


def test_a_wrong_token_names_the_variable(api: FakeStreamApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_API_TOKEN", "wrong")
    refused = run("list")
    assert refused.exit_code == 1
    assert "LIVEDUB_API_TOKEN" in refused.output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["set", "news"], InvalidInputError),
        (["set", "news", "target_language"], InvalidInputError),
        (["set", "news", "voice=a", "voice=b"], InvalidInputError),
        (["show", "../etc"], InvalidInputError),
    ],
)
def test_what_cannot_be_meant_is_never_asked(
    api: FakeStreamApi, arguments: list[str], error: type[LivedubError]
):
    assert isinstance(run(*arguments).exception, error)
    assert api.asked == []


def test_an_api_that_is_gone_is_unavailable(monkeypatch: pytest.MonkeyPatch, api: FakeStreamApi):
    monkeypatch.setenv("LIVEDUB_API_URL", "http://127.0.0.1:9")
    assert isinstance(run("list").exception, StreamApiUnavailableError)


def test_without_any_access_the_remedy_is_to_start_one(monkeypatch: pytest.MonkeyPatch, api: FakeStreamApi):
    monkeypatch.delenv("LIVEDUB_API_URL")
    monkeypatch.delenv("LIVEDUB_API_TOKEN")
    error = run("list").exception
    assert isinstance(error, ConfigurationError)
    assert "livedub up" in error.remedy
