from typing import Any

import pytest

from livedub.supervision.record import StreamRecord
from livedub.supervision.stream_settings import (
    HOT_FIELDS,
    RESTART_FIELDS,
    SettingsError,
    StreamSettings,
    change,
    output_names,
    parse,
)
from media_edge.worker.settings import WorkerSettings
from tests.unit.supervision.given import NOW_MS, events, on, running

BASE = {"delay_ms": 8_000, "target_language": "de", "voice": "de/anna"}


def changed(record: StreamRecord, patch: dict[str, Any], *, restart: bool = False) -> StreamRecord:
    return change(record, patch, restart=restart, now_ms=NOW_MS)


def test_every_setting_is_either_hot_or_needs_a_restart():
    assert set(StreamSettings.model_fields) == HOT_FIELDS | RESTART_FIELDS
    assert not HOT_FIELDS & RESTART_FIELDS


def test_every_setting_is_one_of_the_workers():
    assert set(StreamSettings.model_fields) <= {*WorkerSettings.model_fields, "glossary"}


@pytest.mark.parametrize("name", sorted(set(StreamSettings.model_fields) - {"glossary", "voice"}))
def test_the_workers_defaults_are_valid_settings(name: str):
    default = WorkerSettings.model_fields[name].get_default()
    assert parse({name: default}).chosen() == {name: default}


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"delay_ms": 999}, "delay_ms: Input should be greater than or equal to 1000"),
        ({"delay_ms": "x"}, "delay_ms"),
        ({"target_language": "German"}, "target_language"),
        ({"target_language": "auto"}, "target_language"),
        ({"voice": "en/af_heart", "target_language": "de"}, "does not speak"),
        ({"voice": "../x"}, "voice"),
        ({"dub_gain_db": float("nan")}, "dub_gain_db"),
        ({"separation": "on"}, "separation"),
        ({"forward_url": "http://x.example"}, "rtmp://"),
        ({"glossary": {"": "x"}}, "glossary"),
        ({"target_language": "de", "more_targets": ["fr", "de"]}, "name de more than once"),
        ({"more_targets": "fr,fr"}, "name fr more than once"),
        ({"more_targets": "french"}, "more_targets.0.language"),
        ({"more_targets": 7}, "more_targets"),
        ({"more_targets": [{"language": "fr", "voice": "de/anna"}]}, "does not speak"),
        ({"more_targets": [{"language": "fr", "colour": "red"}]}, "colour"),
        ({"more_targets": [{"language": f"{a}{b}"} for a in "ab" for b in "abcdefgh"]}, "15"),
        ({"glossary": {str(n): "x" for n in range(501)}}, "glossary"),
        ({"delya_ms": 1}, "delya_ms"),
        ({"delya_ms": None}, "delya_ms"),
        ({"stream_id": "other"}, "stream_id"),
        ({"output_url": "rtmp://evil/live"}, "output_url"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(patch: dict[str, Any], words: str):
    with pytest.raises(SettingsError) as error:
        changed(on(), patch)
    assert (error.value.code, error.value.status) == ("INVALID_SETTINGS", 422)
    assert words in str(error.value)


def test_a_patch_lies_over_what_is_there():
    record = changed(on(settings=BASE, settings_revision=3), {"dub_gain_db": 2, "voice": None})
    assert record.settings == {"delay_ms": 8_000, "target_language": "de", "dub_gain_db": 2.0}
    assert record.settings_revision == 4
    assert events(record) == ["settings"]
    assert record.journal[-1].detail == "dub_gain_db, voice"


def test_a_patch_must_fit_what_is_there():
    with pytest.raises(SettingsError, match="does not speak"):
        changed(on(settings=BASE), {"target_language": "fr"})
    fits = changed(on(settings=BASE), {"target_language": "fr", "voice": None})
    assert fits.settings == {"delay_ms": 8_000, "target_language": "fr"}


def test_what_changes_nothing_changes_nothing():
    record = on(settings=BASE)
    assert changed(record, {}) == record
    assert changed(record, {"delay_ms": 8_000, "dub_gain_db": None}) == record


def test_hot_settings_change_under_a_running_worker():
    assert changed(running(), {"target_language": "fr"}).settings_revision == 1


def test_delay_needs_a_restart_where_a_worker_is_on():
    with pytest.raises(SettingsError) as error:
        changed(running(), {"delay_ms": 4_000, "dub_gain_db": 1})
    assert (error.value.code, error.value.status) == ("RESTART_REQUIRED", 409)
    assert "delay_ms cannot" in str(error.value)
    granted = changed(running(), {"delay_ms": 4_000}, restart=True)
    assert granted.settings == {"delay_ms": 4_000}
    assert changed(on(), {"delay_ms": 4_000}).settings == {"delay_ms": 4_000}


def test_a_destination_with_its_key_shows_in_no_repr():
    assert "secret" not in repr(StreamSettings(forward_url="rtmp://cdn.example/live/secret"))


def test_more_languages_are_named_shortly_or_in_full():
    whole = [
        {"language": "fr", "voice": "", "glossary": {}},
        {"language": "de", "voice": "de/anna", "glossary": {}},
    ]
    for given in (
        "fr, de/anna",
        ["fr", "de/anna"],
        [{"language": "fr"}, {"language": "de", "voice": "de/anna"}],
    ):
        assert parse({"more_targets": given}).chosen() == {"more_targets": whole}
    assert parse({"more_targets": []}).chosen() == {"more_targets": []}
    assert output_names({"more_targets": whole}) == ["out", "out-fr", "out-de"]
    assert output_names({}) == ["out"]
    assert output_names({"more_targets": "fr,de/anna"}) == ["out", "out-fr", "out-de"]


def test_a_running_worker_takes_languages_over():
    record = changed(running(), {"more_targets": "fr"})
    assert record.settings_revision == running().settings_revision + 1
    again = changed(record, {"more_targets": ["fr"], "dub_gain_db": 0.0})
    assert again.journal[-1].detail == "dub_gain_db"
