from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.sts.answer import read_answer
from livedub.sts.contract import ErrorCode, Stage, Status, StsError, StsResult
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from tests.unit.livedub.sts.exchanges import dub, failure, request, success


def body_of(result: StsResult, **changes: Any) -> bytes:
    return json.dumps({**json.loads(result.model_dump_json()), **changes}).encode()


def with_dub(**changes: Any) -> bytes:
    document = json.loads(success().model_dump_json())
    document["dubs"][0].update(changes)
    return json.dumps(document).encode()


def with_dub_audio(**changes: Any) -> bytes:
    document = json.loads(success().model_dump_json())
    document["dubs"][0]["audio"].update(changes)
    return json.dumps(document).encode()


def test_a_fitting_answer_is_the_result():
    result = success()
    assert read_answer(request(), 200, body_of(result)) == result


def test_silence_needs_no_dub():
    result = success(text="").model_copy(update={"dubs": ()})
    assert read_answer(request(), 200, body_of(result)).dubs == ()


def test_partial_may_lack_a_language():
    partial = success().model_copy(
        update={
            "status": Status.PARTIAL,
            "error": StsError(stage=Stage.TTS, code=ErrorCode.TIMEOUT, message="late", retryable=True),
        }
    )
    assert read_answer(request(targets=("en", "fr")), 200, body_of(partial)) == partial


def test_a_dub_may_use_the_permitted_overflow():
    result = success(dub(duration_ms=300))
    assert read_answer(request(max_overflow_ms=200), 200, body_of(result)) == result


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "body"),
        (b"<html>hello</html>", "Invalid JSON"),
        (b"[]", "body"),
        (b'{"status":"success"}', "fragment_id"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b"[" * 5_000, "Invalid JSON"),
        (body_of(success(), schema_version=2), "schema_version"),
        (body_of(success(fragment_id="stadium/3/8")), "answered for fragment 'stadium/3/8'"),
        (body_of(failure(ErrorCode.MODEL_ERROR, fragment_id="stadium/3/8")), "answered for fragment"),
        (body_of(success(dub("fr"))), r"dubbed into \['fr'\], asked for \['en'\]"),
        (body_of(success(dub(), dub())), "dubbed into"),
        (body_of(success(), dubs=[]), "only into"),
        (with_dub(audio=None), "text but no audio"),
        (with_dub(tempo=float("nan")), "tempo"),
        (with_dub(tempo=0), "tempo"),
        (with_dub_audio(data_base64="!!!!"), "not base64"),
        (with_dub_audio(duration_ms=200), "says 200 but the audio lasts 100 ms"),
        (with_dub_audio(format="flac"), "not a FLAC stream"),
        (body_of(success(dub(duration_ms=70))), "lasts 70 ms"),
        (body_of(success(dub(duration_ms=130))), "lasts 130 ms"),
    ],
)
def test_nonsense_is_a_bad_answer(body: bytes, says: str):
    with pytest.raises(StsBadAnswer, match=says) as caught:
        read_answer(request(), 200, body)
    assert caught.value.reason == "sts_error:MODEL_ERROR"
    assert caught.value.retryable
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("code", "status_code"),
    [
        (ErrorCode.INVALID_INPUT, 400),
        (ErrorCode.UNSUPPORTED_LANGUAGE, 400),
        (ErrorCode.AUTH_FAILED, 401),
        (ErrorCode.QUEUE_FULL, 429),
        (ErrorCode.MODEL_ERROR, 500),
    ],
)
@pytest.mark.parametrize("retryable", [False, True])
def test_a_typed_error_keeps_its_code(code: ErrorCode, status_code: int, *, retryable: bool):
    with pytest.raises(StsRefused, match="it broke") as caught:
        read_answer(request(), status_code, body_of(failure(code, retryable=retryable)), 1_000)
    assert (caught.value.code, caught.value.retryable, caught.value.stage) == (code, retryable, Stage.TTS)
    assert caught.value.retry_after_ms == 1_000
    assert caught.value.reason == f"sts_error:{code.value}"


def test_an_error_before_the_fragment_was_read_names_none():
    with pytest.raises(StsRefused):
        read_answer(request(), 400, body_of(failure(ErrorCode.INVALID_INPUT, fragment_id="")))


def test_a_service_side_timeout_is_a_timeout():
    with pytest.raises(StsTimeout, match="stage tts"):
        read_answer(request(), 504, body_of(failure(ErrorCode.TIMEOUT, retryable=True)))


def test_a_service_that_loads_is_unavailable():
    with pytest.raises(StsUnavailable, match="not ready"):
        read_answer(request(), 503, body_of(failure(ErrorCode.MODEL_ERROR, retryable=True)))


@pytest.mark.parametrize(
    ("status_code", "kind"),
    [
        (301, StsUnavailable),
        (401, StsRefused),
        (403, StsRefused),
        (404, StsUnavailable),
        (429, StsRefused),
        (500, StsBadAnswer),
        (502, StsUnavailable),
        (503, StsUnavailable),
        (504, StsUnavailable),
    ],
)
def test_a_proxy_in_between_speaks_by_its_status(status_code: int, kind: type[StsFailure]):
    with pytest.raises(kind):
        read_answer(request(), status_code, b"<h1>nginx</h1>")


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(200, 599))
def test_no_body_escapes_the_typed_errors(body: bytes, status_code: int):
    with pytest.raises(StsFailure):
        read_answer(request(), status_code, body)
