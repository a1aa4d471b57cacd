"""Between fragments and the wire: what is sent to STS, and what of its answer may air."""

from __future__ import annotations

import numpy as np

from livedub.audio.codec import decode_audio, encode_audio
from livedub.audio.pcm import PROGRAMME_RATE_HZ, STS_RATE_HZ, Samples
from livedub.audio.resample import fit_length, resample
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.fragment import DubbingFragment, Outcome
from livedub.errors import InvalidInputError
from livedub.sts.contract import Dub, SpeechSpan, Status, StsConfig, StsRequest, StsResult, Target
from livedub.timeline.clock import NS_PER_MS, ns_to_samples

_DURATION_TOLERANCE_MS = 20
_ONSET_DBFS = -45.0


def build_request(
    fragment: DubbingFragment,
    mono: Samples,
    *,
    deadline_ms: int,
    context: str,
    wanted_speech: tuple[str, ...] = (),
) -> StsRequest:
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
            targets=_targets(fragment),
            glossary=_shared_glossary(config),
            context=context[-1_000:],
            max_overflow_ms=config.max_overflow_ms,
            wanted_speech=wanted_speech,
        ),
    )


def _targets(fragment: DubbingFragment) -> tuple[Target, ...]:
    """The languages asked for, each with the terms that are its own."""
    first, *more = (dub.target for dub in fragment.dubs.values())
    if more and fragment.config.glossary:
        first = first.model_copy(update={"glossary": dict(fragment.config.glossary)})
    return (first, *more)


def _shared_glossary(config: DubbingConfig) -> dict[str, str]:
    """The terms for every language of the request: with several languages, those that are to stay as they are."""
    if not config.more_targets:
        return dict(config.glossary)
    return {term: translation for term, translation in config.glossary.items() if term == translation}


def read_result(fragment: DubbingFragment, language: str, result: StsResult) -> Outcome:
    """What of `result` may air in `language`; every reason not to is named, nothing raises."""
    if result.status is Status.ERROR and result.error is not None:
        return Outcome(reason=f"sts_error:{result.error.code.value}")
    dub = next((dub for dub in result.dubs if dub.language == language), None)
    if dub is None:
        code = result.error.code.value if result.error else "MODEL_ERROR"
        return Outcome(reason=f"sts_error:{code}")
    return read_dub(fragment, dub)


def read_dub(fragment: DubbingFragment, dub: Dub) -> Outcome:
    """What of `dub` may air."""
    outcome = Outcome(text=dub.translated_text, tempo=dub.tempo, cache_hit=dub.cache_hit)
    if dub.audio is None or not dub.translated_text.strip():
        outcome.reason, outcome.speechless = "no_speech", True
        return outcome
    try:
        samples = decode_audio(dub.audio)
    except InvalidInputError:
        outcome.reason = "sts_error:bad_audio"
        return outcome
    return read_speech(fragment, samples, dub.audio.sample_rate_hz, outcome)


def read_speech(
    fragment: DubbingFragment, samples: Samples, sample_rate_hz: int, outcome: Outcome
) -> Outcome:
    """`outcome` with mono `samples`, that start where `fragment` does, as its dub, if they may air."""
    programme = _programme_audio(fragment, samples, sample_rate_hz)
    if isinstance(programme, str):
        outcome.reason = programme
        return outcome
    outcome.dub = programme
    onset = _onset_sample(programme)
    outcome.dub_start_ns = fragment.cut.start_ns + onset * 1_000_000_000 // PROGRAMME_RATE_HZ
    return outcome


def _programme_audio(fragment: DubbingFragment, samples: Samples, sample_rate_hz: int) -> Samples | str:
    """The dub at the programme rate and as long as the fragment at least, or why it cannot be used."""
    fragment_ms = fragment.span.duration_ns / NS_PER_MS
    longest_ms = fragment_ms + fragment.config.max_overflow_ms + _DURATION_TOLERANCE_MS
    if not fragment_ms - _DURATION_TOLERANCE_MS <= len(samples) * 1000 / sample_rate_hz <= longest_ms:
        return "sts_error:DURATION_MISMATCH"
    if not np.isfinite(samples).all() or not np.any(samples):
        return "sts_error:bad_audio"
    programme = resample(samples, sample_rate_hz, PROGRAMME_RATE_HZ)
    return fit_length(programme, max(len(programme), fragment.end_position - fragment.start_position))


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
