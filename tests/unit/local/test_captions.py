import json
from pathlib import Path

from local.captions import Cue, cues, read_events, render_vtt

MS = 1_000_000


def fragment(**changes: object) -> dict[str, object]:
    return {
        "event": "fragment",
        "start_ns": 10_000 * MS,
        "duration_ns": 3_000 * MS,
        "rung": "dub",
        "translated_text": "Good evening.",
        "speech": [{"start_ns": 10_500 * MS, "end_ns": 12_000 * MS}],
        "dub_start_ns": 10_400 * MS,
        "dub_duration_ns": 1_600 * MS,
        **changes,
    }


def test_a_cue_lies_over_the_dub_on_the_recordings_own_clock():
    assert cues([fragment()], delay_ms=8_000, recording_start_ms=7_900.4) == [
        Cue(10_500, 12_100, "Good evening.")
    ]


def test_what_was_not_dubbed_is_shown_over_the_speech():
    found = cues([fragment(rung="ducked")], delay_ms=8_000, recording_start_ms=8_000)
    assert found == [Cue(10_500, 12_000, "Good evening.")]


def test_without_a_translation_or_before_the_recording_there_is_no_cue():
    events = [{"event": "session"}, fragment(translated_text=None), fragment(translated_text=" ")]
    assert cues(events, delay_ms=8_000, recording_start_ms=8_000) == []
    assert cues([fragment()], delay_ms=8_000, recording_start_ms=60_000) == []


def test_cues_are_in_order_and_do_not_overlap():
    found = [Cue(0, 3_000, "one"), Cue(2_500, 4_000, "two")]
    text = render_vtt(found)
    assert text.startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\none\n\n00:00:02.500 --> 00:00:04.000\ntwo\n"
    )


def test_text_is_escaped_and_broken_into_lines():
    text = render_vtt([Cue(3_661_001, 3_662_000, "a < b & c > d " + "word " * 20)])
    assert "01:01:01.001 --> 01:01:02.000\na &lt; b &amp; c &gt; d" in text
    assert max(len(line) for line in text.splitlines()) <= 42


def test_a_last_line_cut_short_is_left_out(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps({"event": "session"}) + '\n{"event": "frag')
    assert read_events(path) == [{"event": "session"}]
