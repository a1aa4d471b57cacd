"""What an STS answer means: the result, or the typed error it amounts to. Pure; the clients feed it."""

from __future__ import annotations

from pydantic import ValidationError

from livedub.sts.contract import Dub, ErrorCode, Stage, Status, StsRequest, StsResult
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.payload import AudioPayloadError, check_payload

DUB_TOLERANCE_MS = 20
"""How far a dub may fall short of the fragment, or pass its permitted overflow, and still be mixed."""

_OK = 200
_NOT_READY = 503
_UNREACHABLE = frozenset({404, 502, 503, 504})


def read_answer(request: StsRequest, status_code: int, body: bytes, retry_after_ms: int = 0) -> StsResult:
    """The result in an HTTP answer to `request`, checked against it.

    Raises:
        StsFailure: the answer is an error, or no answer to this request.
    """
    try:
        result = StsResult.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _no_result(status_code, error, retry_after_ms) from error
    if result.error is not None and result.status is Status.ERROR:
        raise _typed_error(request, result, status_code, retry_after_ms)
    _check(request, result)
    return result


def _no_result(status_code: int, error: ValidationError, retry_after_ms: int) -> StsFailure:
    """The failure that an answer without a readable result stands for: often a proxy speaks, not the service."""
    if status_code in {401, 403}:
        return StsRefused(
            ErrorCode.AUTH_FAILED,
            f"STS refused the API key (HTTP {status_code}).",
            stage=Stage.INPUT,
            retryable=False,
            remedy="Set STS_API_KEY to the service's key.",
        )
    if status_code == 429:
        return StsRefused(
            ErrorCode.QUEUE_FULL,
            "STS is overloaded (HTTP 429)",
            stage=Stage.QUEUE,
            retryable=True,
            retry_after_ms=retry_after_ms,
        )
    if status_code in _UNREACHABLE or 300 <= status_code < 400:
        return StsUnavailable(
            f"no STS service answered (HTTP {status_code}).", remedy="Check STS_SERVICE_URL and the service."
        )
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part)[:64] for part in first["loc"]) or "body"
    return StsBadAnswer(f"STS answered HTTP {status_code} with no result: {where}: {first['msg'][:200]}")


def _typed_error(request: StsRequest, result: StsResult, status_code: int, retry_after_ms: int) -> StsFailure:
    if result.fragment_id not in {request.fragment_id, ""}:
        return _other_fragment(request, result)
    error = result.error
    if error is None:
        return StsBadAnswer("STS answered status error without an error")
    if status_code == _NOT_READY:
        return StsUnavailable(f"STS is not ready: {error.message}")
    if error.code is ErrorCode.TIMEOUT:
        return StsTimeout(f"STS gave up in stage {error.stage.value}: {error.message}")
    return StsRefused(
        error.code,
        f"STS failed in stage {error.stage.value} with {error.code.value}: {error.message}",
        stage=error.stage,
        retryable=error.retryable,
        retry_after_ms=retry_after_ms,
    )


def _other_fragment(request: StsRequest, result: StsResult) -> StsBadAnswer:
    return StsBadAnswer(
        f"STS answered for fragment {result.fragment_id[:160]!r}, not {request.fragment_id!r}"
    )


def _check(request: StsRequest, result: StsResult) -> None:
    if result.fragment_id != request.fragment_id:
        raise _other_fragment(request, result)
    wanted = [target.language for target in request.config.targets]
    got = [dub.language for dub in result.dubs]
    if len(set(got)) != len(got) or not set(got) <= set(wanted):
        raise StsBadAnswer(f"STS dubbed into {got}, asked for {wanted}")
    silent = result.transcript is not None and not result.transcript.text.strip()
    if result.status is Status.SUCCESS and set(got) != set(wanted) and not silent:
        raise StsBadAnswer(f"STS says success but dubbed only into {got}, asked for {wanted}")
    for dub in result.dubs:
        check_dub(request, dub)


def check_dub(request: StsRequest, dub: Dub) -> None:
    """Make sure that `dub`, of a partial or of the result, can be mixed where the fragment was.

    Raises:
        StsBadAnswer: its audio is missing, unreadable, or does not fit.
    """
    if dub.audio is None:
        if dub.translated_text.strip():
            raise StsBadAnswer(f"the {dub.language} dub has text but no audio")
        return
    try:
        check_payload(dub.audio, field=f"the {dub.language} dub's audio")
    except AudioPayloadError as error:
        raise StsBadAnswer(error.message) from error
    shortest_ms = request.audio.duration_ms - DUB_TOLERANCE_MS
    longest_ms = request.audio.duration_ms + request.config.max_overflow_ms + DUB_TOLERANCE_MS
    if not shortest_ms <= dub.audio.duration_ms <= longest_ms:
        raise StsBadAnswer(
            f"the {dub.language} dub lasts {dub.audio.duration_ms} ms for a fragment of "
            f"{request.audio.duration_ms} ms with at most {request.config.max_overflow_ms} ms overflow"
        )
