"""Supervision's wire formats against their golden files: schemas as published, and examples that must keep parsing.

After a deliberate change: `python tests/unit/supervision/test_contract.py` writes the schemas anew. Examples are
never rewritten: an old peer still sends them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from livedub.supervision.contract import (
    MAX_BODY_BYTES,
    ApiError,
    MediaAuthorization,
    MediaPermit,
    PathReport,
    SourceHook,
    WorkClaim,
    WorkItem,
    WorkMessage,
    WorkReport,
)
from livedub.supervision.overview import StreamDetail, StreamEvents, StreamList

GOLDEN = Path(__file__).parents[2] / "golden" / "supervision"
MODELS: tuple[type[BaseModel], ...] = (
    SourceHook,
    MediaAuthorization,
    MediaPermit,
    PathReport,
    WorkItem,
    WorkMessage,
    WorkClaim,
    WorkReport,
    ApiError,
    StreamList,
    StreamDetail,
    StreamEvents,
)
EXAMPLES: dict[str, type[BaseModel]] = {
    "v1-source-hook": SourceHook,
    "v1-source-hook-minimal": SourceHook,
    "v1-media-authorization-publish": MediaAuthorization,
    "v1-media-authorization-read": MediaAuthorization,
    "v1-media-permit-input": MediaPermit,
    "v1-media-permit-output": MediaPermit,
    "v1-path-report": PathReport,
    "v1-path-report-empty": PathReport,
    "v1-work-message": WorkMessage,
    "v1-work-claim": WorkClaim,
    "v1-work-report-ended": WorkReport,
    "v1-work-report-crashed": WorkReport,
    "v1-work-report-host-draining": WorkReport,
    "v1-api-error": ApiError,
    "v1-stream-list": StreamList,
    "v1-stream-detail": StreamDetail,
    "v1-stream-events": StreamEvents,
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


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("v1-source-hook", {"schema_version": 2}),
        ("v1-source-hook", {"source_id": "a b"}),
        ("v1-source-hook", {"source_id": ""}),
        ("v1-source-hook", {"relay_id": "x" * 129}),
        ("v1-source-hook", {"path": "p" * 513}),
        ("v1-source-hook", {"occurred_at_ms": -1}),
        ("v1-source-hook", {"occurred_at_ms": 1.5}),
        ("v1-source-hook", {"unknown": 1}),
        ("v1-media-authorization-publish", {"action": "playback"}),
        ("v1-media-authorization-publish", {"credential": "k" * 513}),
        ("v1-path-report", {"paths": [{"path": "live/s1/in"}]}),
        ("v1-work-message", {"claim_token": ""}),
        ("v1-work-report-ended", {"outcome": "degraded"}),
        ("v1-work-report-ended", {"detail": "d" * 2_001}),
    ],
    ids=str,
)
def test_what_breaks_the_contract_is_refused(name: str, change: dict[str, Any]):
    with pytest.raises(ValidationError):
        EXAMPLES[name].model_validate_json(json.dumps({**example(name), **change}))


def test_no_credential_is_in_a_repr():
    assert "s3cret" not in repr(MediaAuthorization.model_validate(example("v1-media-authorization-publish")))
    assert "claim-token" not in repr(WorkMessage.model_validate(example("v1-work-message")))


def test_a_path_list_of_two_thousand_fits():
    report = example("v1-path-report")
    report["paths"] = report["paths"][:1] * 2_000
    assert len(PathReport.model_validate(report).model_dump_json()) < MAX_BODY_BYTES


if __name__ == "__main__":
    for written in MODELS:
        schema_path(written).write_text(schema_text(written), encoding="utf-8")
