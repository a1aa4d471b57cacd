"""The page stands alone, shows every figure it was given, and trusts no text that came from speech."""

import json
import re
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from livedub.errors import InvalidInputError
from livedub.verify.report import verify_recordings
from livedub.verify.track import AudioTrack
from local.report.drawing import TimeAxis, clock, waveform
from local.report.html import write_report

DELAY_MS = 2_000
VOID = {"meta", "link", "br", "img", "input", "source", "hr"}


class Page(HTMLParser):
    """Collects elements and text, and fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in {"script", "style"}:
            self.words += data

    def count(self, tag: str, css_class: str) -> int:
        return sum(
            name == tag and css_class in (attributes.get("class") or "").split()
            for name, attributes in self.elements
        )


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments], check=True, timeout=60)


def fragment(number: int, rung: str = "dub", **changes: object) -> dict[str, object]:
    start_ns = (200 + number * 1_200) * 1_000_000
    return {
        "event": "fragment",
        "sequence_number": number,
        "start_ns": start_ns,
        "duration_ns": 1_000_000_000,
        "rung": rung,
        "reason": "aired" if rung == "dub" else "late",
        "transcript": f"frase {number}",
        "translated_text": f"sentence {number}",
        "tempo": 1.05,
        "clip_start_ns": start_ns,
        "dub_start_ns": start_ns,
        "dub_duration_ns": 900_000_000,
        "margin_ms": 1_500.0 - 2_000 * (rung != "dub"),
        "stage_timings": {"queue_ms": 1, "asr_ms": 200, "translation_ms": 5, "tts_ms": 300, "fit_ms": 10},
        **changes,
    }


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Input and output of 5 s, the output recorded from 0.5 s later on, as a demo leaves them."""
    folder = tmp_path_factory.mktemp("clips")
    source, out = folder / "in.flv", folder / "out.flv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=30:duration=5", "-f", "lavfi"),
        *("-i", "anoisesrc=duration=5:amplitude=0.3:seed=1", "-c:v", "libx264", "-preset", "ultrafast"),
        *("-g", "15", "-c:a", "aac", "-ar", "48000", "-ac", "2", str(source)),
    )
    with av.open(str(source)) as reader, av.open(str(out), "w", format="flv") as writer:
        streams = [writer.add_stream_from_template(stream) for stream in reader.streams]
        for packet in reader.demux():
            if packet.dts is not None and packet.pts is not None and packet.dts >= 500:
                later = av.Packet(bytes(packet))
                later.stream, later.time_base = streams[packet.stream_index], packet.time_base
                later.pts, later.dts = packet.pts + DELAY_MS, packet.dts + DELAY_MS
                later.is_keyframe = packet.is_keyframe
                writer.mux_one(later)
    for recording in (source, out):
        ffmpeg("-i", str(recording), "-c", "copy", str(recording.with_suffix(".mp4")))
    return folder


@pytest.fixture
def demo(clips: Path, tmp_path: Path) -> Path:
    for name in ("in.flv", "in.mp4", "out.flv", "out.mp4"):
        (tmp_path / name).symlink_to(clips / name)
    return tmp_path


def report_of(demo: Path, *events: dict[str, object]) -> dict[str, Any]:
    if events:
        lines = [
            {"event": "session", "delay_ms": DELAY_MS, "source_language": "es", "target_language": "en"},
            *events,
        ]
        (demo / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return verify_recordings(demo / "in.flv", demo / "out.flv", demo / "events.jsonl" if events else None)


def test_the_page_needs_nothing_but_the_two_clips_beside_it(demo: Path):
    text = write_report(demo, report_of(demo, fragment(0), fragment(1))).read_text()

    page = Page(text)
    named = {
        attributes[name]
        for _, attributes in page.elements
        for name in ("src", "href", "srcset", "data")
        if name in attributes
    }
    assert named == {"in.mp4", "out.mp4"}
    assert re.search(r"https?:|url\(|@import|fetch\(|import\s", text) is None


def test_every_check_fragment_and_reason_is_shown(demo: Path):
    report = report_of(
        demo, fragment(0), fragment(1, "ducked"), fragment(2, "original", translated_text=None)
    )

    page = Page(write_report(demo, report).read_text())

    assert page.count("rect", "dub") == page.count("rect", "ducked") == page.count("rect", "original") == 1
    assert page.count("rect", "spoken") == 1
    verdicts = [
        (page.count("td", state), value)
        for state, value in (("good", True), ("bad", False), ("untold", None))
    ]
    for shown, value in verdicts:
        assert shown == sum(check["passed"] is value for check in report["checks"])
    for name, reason in report["reasons"].items():
        assert name in page.words
        assert reason in page.words
    for text in ("frase 0", "sentence 0", "frase 2", "es → en", "✕ Not verified"):
        assert text in page.words


def test_text_from_speech_cannot_become_markup(demo: Path):
    nasty = '</title></script><script>alert(1)</script> & "<b>" \''
    report = report_of(demo, fragment(0, transcript=nasty, translated_text=nasty, reason=nasty))
    report["heard"] = {"output": nasty}

    text = write_report(demo, report).read_text()
    page = Page(text)

    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert "alert(1)</script>" not in text
    assert nasty in page.words


def test_the_players_are_kept_in_step_by_the_offset_between_the_clips(demo: Path):
    text = write_report(demo, report_of(demo, fragment(0))).read_text()

    match = re.search(r"const offset = (-?[0-9.]+)", text)
    assert match is not None
    assert float(match.group(1)) == pytest.approx(-0.5, abs=0.05)


def test_fragments_stand_where_they_are_in_the_input_clip(demo: Path):
    page = Page(write_report(demo, report_of(demo, fragment(0), fragment(1))).read_text())

    at = [
        float(attributes["data-at"] or "")
        for tag, attributes in page.elements
        if tag == "g" and "data-at" in attributes
    ]
    assert at == pytest.approx([0.2, 1.4], abs=0.06)


def test_captions_are_part_of_the_page(demo: Path):
    text = write_report(demo, report_of(demo, fragment(1))).read_text()

    match = re.search(r"const captions = (\[.*?\]);\n", text)
    assert match is not None
    ((start_s, end_s, words),) = json.loads(match.group(1))
    assert words == "sentence 1"
    assert (start_s, end_s) == pytest.approx((0.9, 1.8), abs=0.06)


def test_a_verified_report_says_so(demo: Path):
    report = report_of(demo, fragment(0))

    assert report["verified"] is True
    assert "✓ Verified" in Page(write_report(demo, report).read_text()).words


def test_without_an_event_log_the_page_shows_what_there_is(demo: Path):
    page = Page(write_report(demo, report_of(demo)).read_text())

    assert page.count("path", "wave-in") == page.count("path", "wave-out") == 1
    assert page.count("table", "texts") == 0


def test_delay_over_time_is_drawn_where_it_was_measured(demo: Path):
    report = report_of(demo, fragment(0))
    assert Page(write_report(demo, report).read_text()).count("path", "curve") == 0
    report["video_delay"] = {"by_second_ms": [[0, 2_001.0], [1, 2_003.0], [2, 1_999.0]]}

    page = Page(write_report(demo, report).read_text())

    assert page.count("path", "curve") == 1
    assert "D = 2.00 s" in page.words


def test_a_missing_clip_is_named_and_nothing_is_left_behind(demo: Path):
    report = report_of(demo, fragment(0))
    (demo / "out.mp4").unlink()

    with pytest.raises(InvalidInputError, match=r"out\.mp4"):
        write_report(demo, report)

    assert list(demo.glob("*.html")) == []


def test_a_page_replaces_the_one_before(demo: Path):
    report = report_of(demo, fragment(0))
    write_report(demo, report)
    write_report(demo, {**report, "verified": False})

    assert [path.name for path in demo.iterdir() if "report" in path.name] == ["report.html"]
    assert "✕ Not verified" in (demo / "report.html").read_text()


def test_a_waveform_is_high_where_the_sound_is_loud():
    samples = np.zeros((4 * 48_000, 2), dtype=np.float32)
    samples[48_000 : 2 * 48_000] = 0.5
    axis = TimeAxis(0.0, 4.0, 400)

    path = waveform(AudioTrack(0, samples), axis, shift_s=1.0, height=60, full_scale=0.5)

    upper = {int(x): float(y) for x, y in re.findall(r"(\d+),([\d.]+)", path)[:400]}
    assert upper[250] == 0.0
    assert upper[100] == pytest.approx(30, abs=1)
    assert upper[350] == pytest.approx(30, abs=1)


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (61.9, "1:01"), (3_725, "1:02:05")])
def test_times_read_like_a_clock(seconds: float, shown: str):
    assert clock(seconds) == shown


@pytest.mark.parametrize("seconds", [5, 60, 600, 7_200])
def test_ticks_never_crowd(seconds: int):
    positions = [x for x, _ in TimeAxis(0.0, seconds, 1_160).ticks()]

    assert len(positions) >= 2
    assert min(b - a for a, b in pairwise(positions)) >= 60
