"""WebVTT that players accept: ordered, readable lines, at the moment the dub sounds."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.timeline.subtitles import Cue, cues_from_events, render_webvtt, split_cue

S = 1_000_000_000
MS = 1_000_000

CUES = st.lists(
    st.builds(
        lambda start, length, text: Cue(start * MS, (start + length) * MS, text),
        st.integers(0, 100_000),
        st.integers(1, 9_000),
        st.text("abc <&>-", min_size=1).filter(lambda text: text.strip() != ""),
    ),
    max_size=12,
)


def fragment(**changes: object) -> dict[str, object]:
    return {
        "event": "fragment",
        "start_ns": 10 * S,
        "duration_ns": 3 * S,
        "speech": [{"start_ns": 10 * S + 120 * MS, "end_ns": 12 * S}],
        "rung": "dub",
        "translated_text": "Good evening.",
        "clip_start_ns": 10 * S,
        "dub_start_ns": 10 * S + 120 * MS,
        "dub_duration_ns": 3 * S,
        **changes,
    }


def test_a_dub_is_shown_while_it_sounds_in_the_recording():
    (cue,) = cues_from_events([fragment()], delay_ns=8 * S, recording_start_ns=9 * S)

    assert cue == Cue(9 * S + 120 * MS, 12 * S, "Good evening.")


def test_a_translation_that_was_not_dubbed_is_shown_over_the_speech():
    (cue,) = cues_from_events(
        [fragment(rung="original", dub_start_ns=None, dub_duration_ns=None)],
        delay_ns=8 * S,
        recording_start_ns=0,
    )

    assert (cue.start_ns, cue.end_ns) == (18 * S + 120 * MS, 20 * S)


def test_what_has_no_text_or_ended_before_the_recording_is_left_out():
    events = [
        {"event": "session", "delay_ms": 8_000},
        fragment(translated_text=None),
        fragment(translated_text="  "),
        fragment(start_ns=0, clip_start_ns=0, dub_start_ns=0, dub_duration_ns=S),
    ]

    assert cues_from_events(events, delay_ns=8 * S, recording_start_ns=10 * S) == []


def test_a_text_whose_start_was_not_recorded_is_shown_from_the_beginning():
    (cue,) = cues_from_events([fragment()], delay_ns=8 * S, recording_start_ns=19 * S)

    assert (cue.start_ns, cue.end_ns) == (0, 2 * S)


def test_the_file_looks_as_players_want_it():
    text = render_webvtt([Cue(3_661 * S + 5 * MS, 3_663 * S, "A <b> & c --> d"), Cue(0, 2 * S, "first")])

    assert text == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.000\nfirst\n\n"
        "01:01:01.005 --> 01:01:03.000\nA &lt;b&gt; &amp; c --&gt; d\n"
    )


def test_a_long_text_breaks_into_two_lines_of_about_equal_length():
    (cue,) = split_cue(Cue(0, S, "The captain receives the ball and looks for his teammate."))

    first, second = cue.text.split("\n")
    assert max(len(first), len(second)) <= 42
    assert abs(len(first) - len(second)) < 10


def test_a_text_too_long_for_two_lines_becomes_several_cues_without_a_pause():
    text = " ".join(["commentary"] * 20)
    cues = split_cue(Cue(S, 9 * S, text))

    assert len(cues) > 1
    assert cues[0].start_ns == S
    assert cues[-1].end_ns == 9 * S
    assert all(a.end_ns == b.start_ns for a, b in pairwise(cues))
    assert " ".join(cue.text for cue in cues).split() == text.split()


@given(CUES)
def test_every_file_is_in_order_and_fits_the_screen(cues: list[Cue]):
    blocks = render_webvtt(cues).split("\n\n")[1:]
    ends_ms = 0
    for block in blocks:
        timing, *lines = block.strip("\n").split("\n")
        match = re.fullmatch(r"(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})", timing)
        assert match is not None
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        start_ms, end_ms = ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        assert ends_ms <= start_ms < end_ms
        ends_ms = end_ms
        assert 1 <= len(lines) <= 2
        for line in lines:
            plain = line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            assert 0 < len(plain) <= 42


@pytest.mark.parametrize("length", [1, 42, 43, 200])
def test_a_word_longer_than_a_line_is_broken(length: int):
    cues = split_cue(Cue(0, S, "x" * length))

    assert all(len(line) <= 42 for cue in cues for line in cue.text.split("\n"))
    assert "".join(cue.text.replace("\n", "") for cue in cues) == "x" * length
