"""Between fragments and the wire: what is sent to STS, and what of its answer may air."""

from __future__ import annotations

import numpy as np

from livedub.audio.codec import decode_audio, encode_audio
from livedub.audio.pcm import PROGRAMME_RATE_HZ, STS_RATE_HZ, Samples
from livedub.audio.resample import fit_length, resample
from livedub.dubbing.fragment import DubbingFragment, Outcome
from livedub.errors import InvalidInputError
from livedub.sts.contract import Dub, SpeechSpan, Status, StsConfig, StsRequest, StsResult, Target
from livedub.timeline.clock import NS_PER_MS, ns_to_samples

_DURATION_TOLERANCE_MS = 20
_ONSET_DBFS = -45.0


def build_request(fragment: DubbingFragment, mono: Samples, *, deadline_ms: int, context: str) -> StsRequest:
    """The request for `fragment`, whose programme audio is `mono` at 48 kHz."""
    config = fragment.config
    audio = encode_audio(resample(mono, PROGRAMME_RATE_HZ, STS_RATE_HZ), STS_RATE_HZ, config.sts_audio_format)
    return StsRequest(
        fragment_id=f"{config.stream_id}/{config.generation}/{fragment.sequence_number}",
        stream_id=config.stream_id,
        generation=config.generation,
        sequence_number=fragment.sequence_number,
        deadline_ms=deadline_ms,
        audio=audio,
        speech=_relative_speech(fragment, audio.duration_ms),
        config=StsConfig(
            source_language=config.source_language,
            targets=(Target(language=config.target_language, voice=config.voice),),
            glossary=dict(config.glossary),
            context=context[-1_000:],
            max_overflow_ms=config.max_overflow_ms,
        ),
    )


def read_result(fragment: DubbingFragment, result: StsResult) -> Outcome:
    """What of `result` may air; every reason not to is named, nothing raises."""
    if result.status is Status.ERROR and result.error is not None:
        return Outcome(reason=f"sts_error:{result.error.code.value}", result=result)
    dub = next((dub for dub in result.dubs if dub.language == fragment.config.target_language), None)
    if dub is None:
        code = result.error.code.value if result.error else "MODEL_ERROR"
        return Outcome(reason=f"sts_error:{code}", result=result)
    if dub.audio is None or not dub.translated_text.strip():
        return Outcome(reason="no_speech", speechless=True, result=result)
    return _read_dub(fragment, result, dub)


def _read_dub(fragment: DubbingFragment, result: StsResult, dub: Dub) -> Outcome:
    audio = dub.audio
    if audio is None:
        return Outcome(reason="no_speech", speechless=True, result=result)
    fragment_ms = fragment.span.duration_ns / NS_PER_MS
    longest_ms = fragment_ms + fragment.config.max_overflow_ms + _DURATION_TOLERANCE_MS
    try:
        samples = decode_audio(audio)
    except InvalidInputError:
        return Outcome(reason="sts_error:bad_audio", result=result)
    if not fragment_ms - _DURATION_TOLERANCE_MS <= len(samples) * 1000 / audio.sample_rate_hz <= longest_ms:
        return Outcome(reason="sts_error:DURATION_MISMATCH", result=result)
    if not np.isfinite(samples).all() or not np.any(samples):
        return Outcome(reason="sts_error:bad_audio", result=result)
    programme = resample(samples, audio.sample_rate_hz, PROGRAMME_RATE_HZ)
    programme = fit_length(programme, max(len(programme), fragment.end_position - fragment.start_position))
    onset = _onset_sample(programme)
    onset_ns = fragment.cut.start_ns + onset * 1_000_000_000 // PROGRAMME_RATE_HZ
    return Outcome(dub=programme, dub_start_ns=onset_ns, result=result)


def _onset_sample(samples: Samples) -> int:
    """First sample of the first 10 ms block that is audible."""
    block = PROGRAMME_RATE_HZ // 100
    whole = len(samples) // block * block
    if whole == 0:
        return 0
    mean_square = np.mean(np.square(samples[:whole].reshape(-1, block)), axis=1)
    audible = np.flatnonzero(mean_square > 10 ** (_ONSET_DBFS / 10))
    return int(audible[0]) * block if audible.size else 0


def _relative_speech(fragment: DubbingFragment, duration_ms: int) -> tuple[SpeechSpan, ...]:
    origin_ns = fragment.cut.start_ns
    spans: list[SpeechSpan] = []
    for span in fragment.cut.speech:
        start_ms = max(0, (span.start_ns - origin_ns) // NS_PER_MS)
        end_ms = min(duration_ms, (span.end_ns - origin_ns) // NS_PER_MS)
        if end_ms > start_ms:
            spans.append(SpeechSpan(start_ms=start_ms, end_ms=end_ms))
    return tuple(spans[:64])


def fragment_positions(start_ns: int, end_ns: int) -> tuple[int, int]:
    """Sample positions of a span at the programme rate."""
    return ns_to_samples(start_ns, PROGRAMME_RATE_HZ), ns_to_samples(end_ns, PROGRAMME_RATE_HZ)
