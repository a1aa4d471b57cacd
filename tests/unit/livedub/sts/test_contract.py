"""The wire contract against its golden files: schemas as published, and example exchanges that must keep parsing.

After a deliberate change of the contract: `python tests/unit/livedub/sts/test_contract.py` writes the schemas anew.
Examples are never rewritten: an old peer still sends them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from livedub.sts.contract import (
    MAX_GLOSSARY_CHARACTERS,
    Audio,
    AudioFormat,
    Dub,
    Health,
    Status,
    StsConfig,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
)

GOLDEN = Path(__file__).parents[3] / "golden" / "sts"
MODELS: tuple[type[BaseModel], ...] = (StsRequest, StsResult, StsPartial, StsError, Health, Audio, Dub)
EXAMPLES: dict[str, type[BaseModel]] = {
    "v1-request": StsRequest,
    "v1-request-minimal": StsRequest,
    "v1-result-success": StsResult,
    "v1-result-no-speech": StsResult,
    "v1-result-partial": StsResult,
    "v1-result-error": StsResult,
    "v1-partial-text": StsPartial,
    "v1-partial-audio": StsPartial,
    "v1-health-ready": Health,
    "v1-health-loading": Health,
}


def schema_path(model: type[BaseModel]) -> Path:
    return GOLDEN / f"{model.__name__}.schema.json"


def schema_text(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def example(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", MODELS)
def test_schema_is_the_published_one(model: type[BaseModel]):
    assert schema_text(model) == schema_path(model).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "model"), EXAMPLES.items())
def test_example_parses_and_means_the_same(name: str, model: type[BaseModel]):
    text = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    parsed = model.model_validate_json(text, strict=True)
    assert model.model_validate_json(parsed.model_dump_json(), strict=True) == parsed
    assert json.loads(parsed.model_dump_json(exclude_unset=True)) == json.loads(text)


def test_every_golden_file_is_checked():
    expected = {schema_path(model).name for model in MODELS} | {f"{name}.json" for name in EXAMPLES}
    assert {path.name for path in GOLDEN.iterdir()} == expected


def test_example_audio_is_as_long_as_it_says():
    for name in ("v1-request", "v1-result-success", "v1-partial-audio"):
        document = example(name)
        audio = Audio.model_validate(
            document["audio"] if "audio" in document else document["dubs"][0]["audio"]
        )
        if audio.format is AudioFormat.PCM_S16LE:
            frames = len(base64.b64decode(audio.data_base64)) // (2 * audio.channels)
            assert frames * 1000 == audio.duration_ms * audio.sample_rate_hz


def changed(path: str, value: object) -> dict[str, Any]:
    """The example request with one field changed."""
    document = example("v1-request")
    *parents, last = path.split(".")
    node: Any = document
    for parent in parents:
        node = node[int(parent)] if parent.isdigit() else node[parent]
    node[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("fragment_id", "stadium/3/8", "expected 'stadium/3/7'"),
        ("fragment_id", "stadium/3/7\n", "pattern"),
        ("config.source_language", "es\n", "is no language"),
        ("config.source_language", "Spanish", "is no language"),
        ("config.targets.0.voice", "es/ef_dora", "does not speak 'en'"),
        ("config.targets", [{"language": "en"}, {"language": "en"}], "twice"),
        ("speech", [{"start_ms": 10, "end_ms": 10}], "must lie after start_ms"),
        ("speech", [{"start_ms": 0, "end_ms": 51}], "after the fragment's end"),
        ("config.glossary", {"gol": "a" * MAX_GLOSSARY_CHARACTERS}, "holds 8003 characters, at most 8000"),
        ("config.targets.0.glossary", {"b" * 5_000: "a" * 5_000}, "holds 10000 characters, at most 8000"),
        ("config.targets.0.glossary", {f"term{i}": "x" for i in range(501)}, "at most 500 items"),
        ("schema_version", True, "integer 1"),
        ("schema_version", 1.0, "integer 1"),
        ("schema_version", 2, "Input should be 1"),
        ("generation", "3", "valid integer"),
        ("generation", True, "valid integer"),
        ("deadline_ms", 2500.0, "valid integer"),
        ("prority", 1, "Extra inputs"),
    ],
)
def test_bad_request_is_refused(path: str, value: object, says: str):
    with pytest.raises(ValidationError, match=says):
        StsRequest.model_validate_json(json.dumps(changed(path, value)), strict=True)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["tempo", "queue_ms"])
def test_numbers_json_lacks_are_refused_both_ways(field: str, number: str):
    document = example("v1-result-success")
    holder = document["dubs"][0] if field == "tempo" else document["stage_timings"]
    holder[field] = float(number)
    with pytest.raises(ValidationError, match=field):
        StsResult.model_validate_json(json.dumps(document))
    with pytest.raises(ValidationError, match=field):
        StsResult.model_validate(document)


def test_status_and_error_must_agree():
    for status in Status:
        document = example("v1-result-error" if status is Status.SUCCESS else "v1-result-success")
        document["status"] = status.value
        with pytest.raises(ValidationError, match="disagree"):
            StsResult.model_validate(document)


def test_auto_and_default_voice_are_allowed():
    config = StsConfig(source_language="auto", targets=(Target(language="en"),))
    assert config.targets[0].voice == ""


def test_a_language_may_have_a_glossary_of_its_own_and_it_may_be_full():
    full = {"a" * (MAX_GLOSSARY_CHARACTERS - 1): "b"}
    document = changed("config.targets.0.glossary", full)
    assert StsRequest.model_validate_json(json.dumps(document)).config.targets[0].glossary == full


def write_schemas() -> None:
    """Write every schema to its golden file."""
    for model in MODELS:
        schema_path(model).write_text(schema_text(model), encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
