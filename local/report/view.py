"""What the report page shows, worked out before the template: it only places things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.subtitles import cues_from_events, split_cue
from livedub.verify.events import EventLog, FragmentEvent, read_events
from livedub.verify.json_lines import read_json_lines
from livedub.verify.recording import Recording, read_audio, read_recording
from livedub.verify.track import AudioTrack
from livedub.verify.video import compare_video
from local.report.drawing import TimeAxis, clock, line, waveform

_LEAST_WIDTH = 1_160
_UNITS_A_SECOND = 12
_WAVE_HEIGHT = 64
_CHART_HEIGHT = 84
_SHARES = ("identical_share", "overlap", "dub_share", "recall", "wer")
_STAGES = (("asr_ms", "hear"), ("translation_ms", "translate"), ("tts_ms", "speak"), ("fit_ms", "fit"))
_TITLES = {
    "video_untouched": "Picture untouched",
    "video_complete": "Picture complete",
    "delay_constant": "Delay constant",
    "delay_as_configured": "Delay as configured",
    "video_delay_median": "Delay by wall clock",
    "video_delay_steady": "Delay steady",
    "sync_median": "Lip sync, median",
    "sync_every_event": "Lip sync, worst",
    "audio_aligned": "Sound against picture",
    "audio_no_holes": "Sound without holes",
    "dub_share": "Speech dubbed",
    "onset": "Dub starts on time",
    "readiness": "Ready before needed",
    "translation_recall": "Meaning heard",
    "mixed_wer": "Words heard in the mix",
    "back_wer": "Words heard in the dub",
    "background_kept": "Background kept",
}


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the table of checks."""

    title: str
    meaning: str
    figure: str
    bar: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class FragmentBox:
    """A fragment on the timeline and in the table; times in seconds of the input clip."""

    number: int
    x: float
    width: float
    at: str
    start_s: float
    seconds: str
    rung: str
    reason: str
    transcript: str
    translation: str
    tempo: str
    margin: str
    margin_ms: float | None
    stages: tuple[tuple[str, str, float], ...]
    """(class, label, milliseconds) of each stage."""
    dub_x: float | None
    dub_width: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A line over time: its path, and a few horizontal lines with labels."""

    path: str
    levels: tuple[tuple[float, str, bool], ...]
    """(height, label, emphasised)."""
    dots: tuple[tuple[float, float, str, str], ...] = ()
    """(x, y, class, title)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the template needs."""

    verified: bool
    headline: str
    facts: tuple[tuple[str, str], ...]
    tiles: tuple[tuple[str, str, str], ...]
    """(value, label, state) with state "good", "bad" or ""."""
    checks: tuple[Check, ...]
    reasons: tuple[tuple[str, str], ...]
    width: float
    wave_height: float
    chart_height: float
    ticks: list[tuple[float, str]]
    axis_start_s: float
    axis_seconds: float
    wave_in: str
    wave_out: str
    fragments: tuple[FragmentBox, ...]
    delay: Chart | None
    margin: Chart | None
    offset_s: float
    """Time in the output clip minus time in the input clip of the same picture."""
    heard: tuple[tuple[str, str], ...]
    source_language: str
    target_language: str
    captions: tuple[tuple[float, float, str], ...]
    """(start, end, text) in seconds of the output clip."""
    stage_scale_ms: float


def build_page(folder: Path, report: Mapping[str, Any]) -> Page:
    """Work out the page of a demo's folder: in.mp4, out.mp4 and events.jsonl beside the report."""
    events_path = folder / "events.jsonl"
    log = read_events(events_path) if events_path.is_file() else EventLog()
    source, output = read_recording(folder / "in.mp4"), read_recording(folder / "out.mp4")
    offset_s = _offset_s(source, output)
    axis = _axis(source, output, offset_s)
    session = log.sessions[0] if log.sessions else None
    delay_ms = report["delay_ms"] if session is None else session.delay_ms
    media_to_clip_s = ((delay_ms or 0.0) - report["output_start_ms"]) / 1_000 - offset_s
    sounds = (_sound(folder / "in.mp4"), _sound(folder / "out.mp4"))
    full_scale = max(0.05, *(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds))
    boxes = tuple(_box(fragment, axis, media_to_clip_s) for fragment in log.fragments)
    return Page(
        verified=report["verified"],
        headline=_headline(report),
        facts=_facts(report, log, delay_ms),
        tiles=_tiles(report),
        checks=tuple(_check(check) for check in report["checks"]),
        reasons=tuple(sorted(report["reasons"].items())),
        width=axis.width,
        wave_height=_WAVE_HEIGHT,
        chart_height=_CHART_HEIGHT,
        ticks=axis.ticks(),
        axis_start_s=axis.start_s,
        axis_seconds=axis.end_s - axis.start_s,
        wave_in=_wave(sounds[0], axis, 0.0, full_scale),
        wave_out=_wave(sounds[1], axis, -offset_s, full_scale),
        fragments=boxes,
        delay=_delay_chart(report, axis, delay_ms, output.start_ns / NS_PER_S - offset_s),
        margin=_margin_chart(boxes),
        offset_s=round(offset_s, 4),
        heard=tuple(report["heard"].items()),
        source_language=(session.source_language if session else "") or "source",
        target_language=(session.target_language if session else "") or "dub",
        captions=_captions(events_path, delay_ms, report["output_start_ms"]),
        stage_scale_ms=max([sum(ms for _, _, ms in box.stages) for box in boxes] or [0.0]) or 1.0,
    )


def _offset_s(source: Recording, output: Recording) -> float:
    comparison = compare_video(source, output)
    return comparison.offset_ns / NS_PER_S if comparison else 0.0


def _axis(source: Recording, output: Recording, offset_s: float) -> TimeAxis:
    start_s = min(source.start_ns / NS_PER_S, output.start_ns / NS_PER_S - offset_s)
    end_s = max(source.end_ns / NS_PER_S, output.end_ns / NS_PER_S - offset_s)
    return TimeAxis(start_s, end_s, max(_LEAST_WIDTH, _UNITS_A_SECOND * (end_s - start_s)))


def _sound(path: Path) -> AudioTrack:
    takes = read_audio(path)
    return max(takes, key=lambda take: len(take.samples), default=AudioTrack(0, np.zeros((0, 2), np.float32)))


def _wave(track: AudioTrack, axis: TimeAxis, shift_s: float, full_scale: float) -> str:
    return waveform(track, axis, shift_s=shift_s, height=_WAVE_HEIGHT, full_scale=full_scale)


def _captions(
    events_path: Path, delay_ms: float | None, output_start_ms: float
) -> tuple[tuple[float, float, str], ...]:
    """Subtitles as data: a page opened from disk may not load a .vtt file."""
    if delay_ms is None or not events_path.is_file():
        return ()
    cues = cues_from_events(
        (event for _, event in read_json_lines(events_path)),
        delay_ns=round(delay_ms * NS_PER_MS),
        recording_start_ns=round(output_start_ms * NS_PER_MS),
    )
    return tuple(
        (round(part.start_ns / NS_PER_S, 3), round(part.end_ns / NS_PER_S, 3), part.text)
        for cue in cues
        for part in split_cue(cue)
    )


def _headline(report: Mapping[str, Any]) -> str:
    failed = [_title(check["name"]) for check in report["checks"] if check["passed"] is False]
    if failed:
        return f"{len(failed)} of {len(report['predicates'])} checks failed: {', '.join(failed).lower()}."
    if not report["verified"]:
        return "What a verdict needs could not be measured; the reasons are below."
    return f"All {len(report['predicates'])} checks that this clip allows were passed."


def _facts(report: Mapping[str, Any], log: EventLog, delay_ms: float | None) -> tuple[tuple[str, str], ...]:
    facts = [("recorded", f"{report['seconds']:.1f} s")]
    if delay_ms is not None:
        facts.append(("delay D", f"{delay_ms / 1_000:.2f} s"))
    if log.sessions:
        facts.append(("background", log.sessions[0].background or "unknown"))
    worker = report["worker"]
    if worker and worker["cpu_percent"] is not None:
        facts.append(("worker CPU", f"{worker['cpu_percent']:.0f} % of a core"))
    if worker and worker["rss_bytes"] is not None:
        facts.append(("worker memory", f"{worker['rss_bytes'] / 1e6:.0f} MB"))
    if report["sts"]:
        facts.append(("speech service", f"{report['sts']['rtf']:.2f} s a second of speech"))
    return tuple(facts)


def _tiles(report: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """The figures a visitor asks for first; those that could not be told are left out."""
    states = {
        check["name"]: {True: "good", False: "bad", None: ""}[check["passed"]] for check in report["checks"]
    }
    checks = {check["name"]: check for check in report["checks"]}
    wanted = (
        ("video_untouched", "of the picture's NAL units untouched"),
        ("dub_share", "of the speech on air as dub"),
        ("sync_median", "A/V offset, median"),
        ("audio_aligned", "sound against picture"),
        ("video_delay_median", "from D, by wall clock"),
        ("audio_no_holes", "holes in the sound"),
        ("onset", "dub onset error, p95"),
        ("readiness", "ready ahead of the mixer, p5"),
        ("translation_recall", "of the meaning heard"),
        ("mixed_wer", "word errors in the mix"),
        ("background_kept", "background against its stem"),
    )
    return tuple(
        (_figure(checks[name]), label, states[name])
        for name, label in wanted
        if name in checks and checks[name]["figure"] is not None
    )


def _title(name: str) -> str:
    return _TITLES.get(name) or name.replace("_", " ").capitalize()


def _check(check: Mapping[str, Any]) -> Check:
    bar = _amount(check["bar"], check)
    relation = {"at least": "≥", "at most": "≤", "within": "±"}[check["relation"]]
    return Check(
        title=_title(check["name"]),
        meaning=check["meaning"],
        figure="\u2013" if check["figure"] is None else _figure(check),
        bar=f"{relation} {bar}",
        passed=check["passed"],
    )


def _figure(check: Mapping[str, Any]) -> str:
    return _amount(check["figure"], check)


def _amount(value: float, check: Mapping[str, Any]) -> str:
    """A number as people write it: shares in percent, long times in seconds."""
    if check["field"].rsplit(".", 1)[-1].endswith(_SHARES):
        return f"{value * 100:.4g} %"
    if check["unit"] == "ms" and abs(value) >= 1_000:
        return f"{value / 1_000:.3g} s"
    digits = f"{value:.3g}" if abs(value) < 1_000 else f"{value:.0f}"
    return f"{digits} {check['unit']}".strip()


def _box(fragment: FragmentEvent, axis: TimeAxis, media_to_clip_s: float) -> FragmentBox:
    start_s = fragment.start_ns / NS_PER_S + media_to_clip_s
    seconds = fragment.duration_ns / NS_PER_S
    timings = fragment.stage_timings
    clip_start_ns = fragment.clip_start_ns if fragment.clip_start_ns is not None else fragment.dub_start_ns
    dub_x = (
        axis.x(clip_start_ns / NS_PER_S + media_to_clip_s) if fragment.aired_dub and clip_start_ns else None
    )
    return FragmentBox(
        number=fragment.sequence_number,
        x=axis.x(start_s),
        width=max(2.0, axis.x(start_s + seconds) - axis.x(start_s)),
        at=clock(start_s),
        start_s=round(start_s, 3),
        seconds=f"{seconds:.1f} s",
        rung=fragment.rung,
        reason=fragment.reason.replace("_", " "),
        transcript=fragment.transcript or "",
        translation=fragment.translated_text or "",
        tempo="" if fragment.tempo is None else f"{fragment.tempo:.2f}\u00d7",
        margin="" if fragment.margin_ms is None else f"{fragment.margin_ms / 1_000:+.2f} s",
        margin_ms=fragment.margin_ms,
        stages=()
        if timings is None
        else tuple((name[:-3], label, float(getattr(timings, name))) for name, label in _STAGES),
        dub_x=dub_x,
        dub_width=(fragment.dub_duration_ns or 0) / NS_PER_S / (axis.end_s - axis.start_s) * axis.width,
    )


def _delay_chart(
    report: Mapping[str, Any], axis: TimeAxis, delay_ms: float | None, output_start_s: float
) -> Chart | None:
    delays = report["video_delay"]
    if not delays or not delays["by_second_ms"] or delay_ms is None:
        return None
    values = [ms for _, ms in delays["by_second_ms"]]
    reach = max(75.0, *(abs(ms - delay_ms) * 1.1 for ms in values))

    def y(ms: float) -> float:
        return round(_CHART_HEIGHT / 2 - (ms - delay_ms) / reach * (_CHART_HEIGHT / 2 - 6), 1)

    return Chart(
        path=line([(axis.x(output_start_s + second + 0.5), y(ms)) for second, ms in delays["by_second_ms"]]),
        levels=(
            (y(delay_ms + 60), "D + 60 ms", False),
            (y(delay_ms), f"D = {delay_ms / 1_000:.2f} s", True),
            (y(delay_ms - 60), "D - 60 ms", False),
        ),
    )


def _margin_chart(boxes: tuple[FragmentBox, ...]) -> Chart | None:
    margins = [(box, box.margin_ms) for box in boxes if box.margin_ms is not None]
    if not margins:
        return None
    top = max(1_000.0, *(ms for _, ms in margins)) * 1.1
    bottom = min(0.0, *(ms for _, ms in margins)) * 1.1

    def y(ms: float) -> float:
        return round(8 + (top - ms) / (top - bottom) * (_CHART_HEIGHT - 16), 1)

    dots = tuple(
        (round(box.x + box.width / 2, 1), y(ms), box.rung, f"#{box.number}: ready {ms / 1_000:+.2f} s")
        for box, ms in margins
    )
    return Chart(
        path=line([(x, height) for x, height, _, _ in dots]),
        levels=((y(0), "deadline", True), (y(top / 1.1), f"{top / 1_100:.1f} s", False)),
        dots=dots,
    )
