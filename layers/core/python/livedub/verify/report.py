"""From two recordings to a verdict: each figure measured, or null with the reason why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.verify import holes
from livedub.verify.arrivals import arrival_delays, sidecar
from livedub.verify.bars import BARS, Bar, Check, judge, verified
from livedub.verify.events import EventLog, FragmentEvent, read_events
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.heard import Transcribe
from livedub.verify.lag import find_lag
from livedub.verify.listening import Listening
from livedub.verify.model import (
    AudioFigures,
    CheckFigures,
    FragmentFigures,
    HoleFigures,
    MarginFigures,
    StsFigures,
    VerifyReport,
    VideoDelayFigures,
    VideoFigures,
    WorkerFigures,
)
from livedub.verify.sync import measure_sync

T = TypeVar("T")

_HOLES_LISTED = 20
_DUCKED_BY_DB = 20.0
_LAG_REACH_MS = 500
_CLEAR = 8.0
"""Correlation peaks of unrelated sounds stay under about 5 times their RMS."""


def verify_recordings(
    input_flv: Path,
    output_flv: Path,
    events: Path | EventLog | None,
    *,
    reference: Path | None = None,
    transcribe: Transcribe | None = None,
    bars: tuple[Bar, ...] = BARS,
) -> dict[str, Any]:
    """Measure what a dubbed stream promises, from a recording of its input and one of its output.

    Args:
        input_flv: what the worker received (FLV keeps the stream's timestamps; MP4 and TS work with fewer figures).
        output_flv: what it sent.
        events: the session's events.jsonl; dumped dubs are looked for beside it.
        reference: clip.reference.json of a made clip, its stems beside it.
        transcribe: speech recognition for what only a listener can tell; without it those figures are null.
        bars: what to hold the figures against.

    Returns:
        The report as plain JSON data, see `livedub.verify.model.VerifyReport`.

    Raises:
        InvalidInputError: a file is missing or cannot be read.
    """
    log = read_events(events) if isinstance(events, Path) else events
    evidence = Evidence.read(input_flv, output_flv, log)
    return _measure(evidence, Listening(evidence, reference, transcribe), bars).model_dump(mode="json")


@dataclass
class _Findings:
    """Runs measurements and keeps the reasons of those that had to pass."""

    reasons: dict[str, str] = field(default_factory=dict)

    def tell(self, name: str, measure: Callable[[], T]) -> T | None:
        try:
            return measure()
        except CannotTell as reason:
            self.reasons[name] = str(reason)
            return None


def _measure(evidence: Evidence, listening: Listening, bars: tuple[Bar, ...]) -> VerifyReport:
    found = _Findings()
    delay_ms = found.tell("delay_ms", lambda: evidence.wire_delay_ns / NS_PER_MS)
    figures: dict[str, Any] = {
        "seconds": round((evidence.output.end_ns - evidence.output.start_ns) / NS_PER_S, 3),
        "delay_ms": _rounded(delay_ms),
        "delay_error_ms": found.tell("delay_error_ms", lambda: _delay_error_ms(evidence)),
        "output_start_ms": round(evidence.output.first_shown_ns / NS_PER_MS, 3),
        "video": found.tell("video", lambda: _video(evidence)),
        "video_delay": found.tell("video_delay", lambda: _video_delay(evidence)),
        "sync": found.tell("sync", lambda: measure_sync(evidence)),
        "audio": found.tell("audio", lambda: _audio(evidence, found)),
        "onset_error": found.tell("onset_error", listening.onset_error),
        "translation_recall": found.tell("translation_recall", listening.translation_recall),
        "mixed_wer": found.tell("mixed_wer", listening.mixed_wer),
        "back_wer": found.tell("back_wer", listening.back_wer),
        "background_si_sdr_db": found.tell("background_si_sdr_db", listening.background_si_sdr_db),
        **_from_events(found, evidence),
    }
    plain = {
        name: value.model_dump() if hasattr(value, "model_dump") else value for name, value in figures.items()
    }
    checks = judge(plain, bars)
    return VerifyReport(
        verified=verified(checks),
        predicates={check.bar.name: check.passed for check in checks if check.passed is not None},
        heard=listening.heard(),
        reasons=found.reasons,
        checks=tuple(_check(check) for check in checks),
        **figures,
    )


def _delay_error_ms(evidence: Evidence) -> float:
    stated_ns = evidence.log.delay_ns
    if stated_ns is None:
        raise CannotTell("the event log has no session line that states D")
    return round((evidence.wire_delay_ns - stated_ns) / NS_PER_MS, 3)


def _video(evidence: Evidence) -> VideoFigures:
    if not evidence.source.video:
        raise CannotTell("the input carries no video")
    comparison = evidence.comparison
    if comparison is None:
        return _nothing_in_common(evidence)
    return VideoFigures(
        nal_total=comparison.nal_total,
        nal_identical=comparison.nal_identical,
        identical_share=comparison.nal_identical / comparison.nal_total if comparison.nal_total else 0.0,
        overlap=round(comparison.overlap, 5),
        frames_due=comparison.frames_due,
        frames_altered=comparison.frames_altered,
        frames_missing=comparison.frames_missing,
        frames_foreign=comparison.frames_foreign,
        offset_ms=comparison.offset_ns / NS_PER_MS,
        offset_max_dev_ms=_rounded(comparison.offset_deviation_ns / NS_PER_MS),
    )


def _nothing_in_common(evidence: Evidence) -> VideoFigures:
    """No frame of the output is one of the input: it was encoded again, or it is another stream."""
    return VideoFigures(
        nal_total=sum(len(unit.nal_digests) for unit in evidence.output.video),
        nal_identical=0,
        identical_share=0.0,
        overlap=0.0,
        frames_due=len(evidence.source.video),
        frames_altered=0,
        frames_missing=len(evidence.source.video),
        frames_foreign=len(evidence.output.video),
        offset_ms=None,
        offset_max_dev_ms=None,
    )


def _video_delay(evidence: Evidence) -> VideoDelayFigures:
    source, output = sidecar(evidence.source.path), sidecar(evidence.output.path)
    absent = [path.name for path in (source, output) if not path.is_file()]
    if absent:
        raise CannotTell(f"the recorder's notes of arrival are missing: {', '.join(absent)}")
    delays = arrival_delays(source, output)
    if not delays.delays_ns:
        raise CannotTell("no video packet arrived both at the input's listener and at the output's")
    nominal_ns = evidence.log.delay_ns if evidence.events else evidence.wire_delay_ns
    if nominal_ns is None:
        raise CannotTell("the event log has no session line that states D")
    nominal_ms = nominal_ns / NS_PER_MS
    return VideoDelayFigures(
        packets=len(delays.delays_ns),
        median_ms=round(delays.median_ms(), 3),
        median_error_ms=round(delays.median_ms() - nominal_ms, 3),
        p99_dev_ms=round(delays.deviation_ms(nominal_ms, 99.0), 3),
        max_dev_ms=round(delays.deviation_ms(nominal_ms, 100.0), 3),
        by_second_ms=delays.by_second_ms(),
    )


def _audio(evidence: Evidence, findings: _Findings) -> AudioFigures:
    packets = evidence.output.audio
    output = evidence.output_audio
    found = holes.pts_gaps(packets)
    try:
        found += holes.silences(output, _owed_dbfs(evidence))
    except CannotTell:
        if evidence.source.audio:
            raise
    found.sort(key=lambda hole: hole.span.start_ns)
    longest_ns = max((hole.span.duration_ns for hole in found), default=0)
    return AudioFigures(
        holes=len(found),
        max_gap_ms=round(max(longest_ns, holes.largest_gap_ns(packets)) / NS_PER_MS, 3),
        resets=holes.resets(packets),
        hole_list=tuple(
            HoleFigures(
                start_ms=round(hole.span.start_ns / NS_PER_MS, 3),
                length_ms=round(hole.span.duration_ns / NS_PER_MS, 3),
                cause=hole.cause,
            )
            for hole in found[:_HOLES_LISTED]
        ),
        lag_ms=findings.tell("audio.lag_ms", lambda: _lag_ms(evidence)),
    )


def _lag_ms(evidence: Evidence) -> float:
    """How far the output's audio trails its video: what of the input is still in it, found by correlation."""
    aligned, output = evidence.input_on_output, evidence.output_audio
    lag = find_lag(aligned.mono(), output.mono(), _LAG_REACH_MS * PROGRAMME_RATE_HZ // 1000)
    if lag is None or lag.clarity < _CLEAR:
        raise CannotTell("too little of the input's sound is in the output to correlate the two")
    return round(lag.samples * 1000 / PROGRAMME_RATE_HZ, 3)


def _owed_dbfs(evidence: Evidence) -> holes.Levels:
    """The level, per hop, that the output owes its listener: the input's, or its background where a dub is on air."""
    aligned = evidence.input_on_output
    level_dbfs = holes.levels(aligned.samples)
    owed = holes.steady(level_dbfs)
    if evidence.events is None:
        return owed
    try:
        placed = evidence.fragments_on_output()
    except CannotTell:
        return owed
    floor = np.minimum(owed, holes.background(level_dbfs))
    for fragment, span in placed:
        begin = max(0, (span.start_ns - aligned.start_ns) // (holes.HOP_MS * NS_PER_MS))
        end = max(0, (span.end_ns - aligned.start_ns) // (holes.HOP_MS * NS_PER_MS))
        if fragment.rung == "dub":
            owed[begin:end] = floor[begin:end]
        elif fragment.rung == "ducked":
            owed[begin:end] -= _DUCKED_BY_DB
    return owed


def _from_events(found: _Findings, evidence: Evidence) -> dict[str, Any]:
    return {
        "fragments": found.tell("fragments", lambda: _fragments(evidence.log)),
        "readiness_margin": found.tell("readiness_margin", lambda: _margin(evidence.log)),
        "sts": found.tell("sts", lambda: _sts(evidence.log)),
        "worker": found.tell("worker", lambda: _worker(evidence.log)),
    }


def _fragments(log: EventLog) -> FragmentFigures:
    fragments = log.fragments
    dubbed = [fragment for fragment in fragments if fragment.aired_dub]
    speechless = sum(fragment.speechless for fragment in fragments)
    due = len(fragments) - speechless
    return FragmentFigures(
        total=len(fragments),
        dub=len(dubbed),
        ducked=sum(fragment.rung == "ducked" for fragment in fragments),
        original=sum(fragment.rung == "original" for fragment in fragments),
        late=sum(fragment.late for fragment in fragments),
        speechless=speechless,
        dub_share=round(len(dubbed) / due, 5) if due else None,
        dubbed_words=sum(len((fragment.translated_text or "").split()) for fragment in dubbed),
    )


def _margin(log: EventLog) -> MarginFigures:
    margins = [fragment.margin_ms for fragment in log.fragments if fragment.margin_ms is not None]
    if not margins:
        raise CannotTell("no fragment became ready")
    p5, p50 = np.percentile(margins, [5, 50])
    return MarginFigures(
        p5_ms=round(float(p5), 1), p50_ms=round(float(p50), 1), min_ms=round(min(margins), 1)
    )


def _sts(log: EventLog) -> StsFigures:
    timed: list[FragmentEvent] = [
        fragment for fragment in log.fragments if fragment.stage_timings is not None
    ]
    audio_ms = sum(fragment.duration_ns for fragment in timed) / NS_PER_MS
    if not timed or not audio_ms:
        raise CannotTell("no fragment carries stage timings")
    timings = [fragment.stage_timings for fragment in timed if fragment.stage_timings is not None]

    def mean(name: str) -> float:
        return round(sum(float(getattr(timing, name)) for timing in timings) / len(timings), 1)

    return StsFigures(
        rtf=round(sum(timing.total_ms for timing in timings) / audio_ms, 4),
        asr_ms=mean("asr_ms"),
        translation_ms=mean("translation_ms"),
        tts_ms=mean("tts_ms"),
        fit_ms=mean("fit_ms"),
    )


def _worker(log: EventLog) -> WorkerFigures:
    if log.worker is None:
        raise CannotTell("the event log has no worker line")
    return WorkerFigures(cpu_percent=log.worker.cpu_percent, rss_bytes=log.worker.rss_bytes)


def _check(check: Check) -> CheckFigures:
    bar = check.bar
    return CheckFigures(
        name=bar.name,
        meaning=bar.meaning,
        field=bar.field,
        figure=check.figure,
        relation=bar.relation,
        bar=bar.value,
        unit=bar.unit,
        passed=check.passed,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
