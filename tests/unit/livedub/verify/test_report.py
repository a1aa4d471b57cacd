"""Whole reports of recordings whose faults are known: a perfect copy passes, each kind of damage is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livedub.errors import InvalidInputError
from livedub.verify.events import parse_events
from livedub.verify.recording import read_recording
from livedub.verify.report import verify_recordings

from .conftest import DELAY_MS, SECONDS, Carried, Carry, ffmpeg, programme_audio, with_audio


def session(**changes: object):
    return {"event": "session", "delay_ms": DELAY_MS, "media_offset_ns": 0, **changes}


def fragment(start_ms: int, duration_ms: int, **changes: object):
    return {
        "event": "fragment",
        "start_ns": start_ms * 1_000_000,
        "duration_ns": duration_ms * 1_000_000,
        "rung": "dub",
        "reason": "aired",
        "late": False,
        **changes,
    }


def log(*events: dict[str, object]):
    return parse_events([session(), *events])


def test_a_perfect_copy_d_later_is_verified(programme: Path, carry: Carry):
    report = verify_recordings(programme, carry(programme), log())

    assert report["verified"] is True
    assert report["delay_ms"] == DELAY_MS
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 30 * SECONDS
    assert report["video"]["overlap"] == 1.0
    assert report["video"]["frames_due"] == 30 * SECONDS
    assert report["audio"]["holes"] == 0
    assert report["audio"]["max_gap_ms"] < 2
    assert report["seconds"] == pytest.approx(SECONDS, abs=0.2)
    # ffmpeg's FLV starts at decoding time 0; the first picture is shown two frames later, sound a frame before it
    assert report["output_start_ms"] == pytest.approx(DELAY_MS + 46, abs=1)
    json.dumps(report)


def test_recordings_that_start_and_end_at_different_moments_are_compared_over_what_both_saw(
    programme: Path, carry: Carry
):
    late_in = carry(programme, lambda p: p if p.dts_ms > 2_100 else None, delay_ms=0, name="in.flv")
    early_out = carry(programme, lambda p: p if p.dts_ms < 6_000 else None)

    report = verify_recordings(late_in, early_out, log())

    assert report["verified"] is True
    assert report["video"]["overlap"] > 0.99
    assert 100 < report["video"]["frames_due"] < 125


def joined(first_video_ms: int):
    """What a viewer has who hears from 1.2 s on; keyframes are 1 s apart."""

    def join(packet: Carried):
        return packet if packet.dts_ms > (first_video_ms if packet.kind == "video" else 1_200) else None

    return join


def test_a_viewer_who_joins_between_two_keyframes_is_owed_pictures_from_the_next_one_on(
    programme: Path, carry: Carry
):
    keyframe_ms = first_keyframe_ms(programme, after_ms=1_200)
    report = verify_recordings(programme, carry(programme, joined(keyframe_ms - 10)), log())

    assert report["video"]["identical_share"] == 1.0
    assert report["video"]["overlap"] == 1.0
    assert report["predicates"]["video_complete"] is True


def test_pictures_that_stay_away_past_the_next_keyframe_are_missed(programme: Path, carry: Carry):
    first_ms = first_keyframe_ms(programme, after_ms=1_200)
    second_ms = first_keyframe_ms(programme, after_ms=first_ms + 100)
    report = verify_recordings(programme, carry(programme, joined(second_ms - 10)), log())

    due = report["video"]["frames_due"]
    away = (second_ms - first_ms) * 30 / 1000
    assert report["video"]["overlap"] == pytest.approx((due - away) / due, abs=0.01)
    assert report["predicates"]["video_complete"] is False


def first_keyframe_ms(programme: Path, *, after_ms: int) -> int:
    units = read_recording(programme).video
    return next(u.dts_ns // 1_000_000 for u in units if u.keyframe and u.dts_ns > after_ms * 1_000_000)


def test_one_lost_frame_is_named(programme: Path, carry: Carry):
    out = carry(programme, lambda p: None if (p.kind, p.index) == ("video", 97) else p)

    report = verify_recordings(programme, out, log())

    assert report["verified"] is False
    assert report["predicates"]["video_untouched"] is False
    assert report["video"]["frames_missing"] == 1
    assert report["video"]["frames_altered"] == 0
    assert report["video"]["overlap"] < 1
    assert report["video"]["nal_total"] - report["video"]["nal_identical"] >= 1


def test_one_altered_nal_unit_is_named(programme: Path, carry: Carry):
    def flip_last_byte(packet: Carried):
        if (packet.kind, packet.index) != ("video", 97):
            return packet
        return replace(packet, payload=packet.payload[:-1] + bytes([packet.payload[-1] ^ 1]))

    report = verify_recordings(programme, carry(programme, flip_last_byte), log())

    assert report["verified"] is False
    assert report["predicates"]["video_untouched"] is False
    assert report["video"]["frames_altered"] == 1
    assert report["video"]["frames_missing"] == 0
    assert report["video"]["overlap"] == 1.0
    assert report["video"]["nal_total"] - report["video"]["nal_identical"] == 1


def test_a_frame_sent_twice_is_named(programme: Path, carry: Carry, tmp_path: Path):
    frames = {}

    def repeat(packet: Carried):
        if packet.kind == "video":
            frames[packet.index] = packet.payload
            if packet.index == 98:
                return replace(packet, payload=frames[97])
        return packet

    report = verify_recordings(programme, carry(programme, repeat), log())

    assert report["predicates"]["video_untouched"] is False
    assert report["video"]["frames_altered"] == 1


def test_a_picture_encoded_again_has_nothing_in_common(programme: Path, tmp_path: Path):
    out = tmp_path / "out.flv"
    ffmpeg("-i", str(programme), "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy", str(out))

    report = verify_recordings(programme, out, None)

    assert report["predicates"]["video_untouched"] is False
    assert report["video"]["nal_identical"] == 0
    assert report["video"]["overlap"] == 0


def test_parameter_sets_may_differ(programme: Path, tmp_path: Path):
    out = tmp_path / "out.ts"
    ffmpeg("-i", str(programme), "-c", "copy", str(out))

    report = verify_recordings(programme, out, None)

    assert report["video"]["identical_share"] == 1.0
    assert report["verified"] is True
    assert "FLV" in report["reasons"]["delay_ms"]


def test_a_delay_that_changes_in_mid_stream_is_named(programme: Path, carry: Carry):
    def slip(packet: Carried):
        later = 40 if packet.dts_ms > 4_000 else 0
        return replace(packet, pts_ms=packet.pts_ms + later, dts_ms=packet.dts_ms + later)

    report = verify_recordings(programme, carry(programme, slip), log())

    assert report["predicates"]["delay_constant"] is False
    assert report["video"]["offset_max_dev_ms"] == 40


def test_a_delay_other_than_the_configured_one_is_named(programme: Path, carry: Carry):
    report = verify_recordings(programme, carry(programme, delay_ms=DELAY_MS + 20), log())

    assert report["predicates"]["delay_as_configured"] is False
    assert report["delay_error_ms"] == 20


def test_millisecond_rounding_is_no_change_of_delay(programme: Path, carry: Carry):
    def jitter(packet: Carried):
        late = packet.index % 2
        return replace(packet, pts_ms=packet.pts_ms + late, dts_ms=packet.dts_ms + late)

    report = verify_recordings(programme, carry(programme, jitter), log())

    assert report["verified"] is True
    assert report["video"]["offset_max_dev_ms"] == 1


def test_one_lost_audio_packet_is_a_hole(programme: Path, carry: Carry):
    out = carry(programme, lambda p: None if (p.kind, p.index) == ("audio", 100) else p)

    report = verify_recordings(programme, out, log())

    assert report["verified"] is False
    assert report["audio"]["holes"] == 1
    assert report["audio"]["hole_list"][0]["cause"] == "pts_gap"
    assert report["audio"]["max_gap_ms"] == pytest.approx(21.3, abs=1.5)


@pytest.mark.parametrize(("hole_ms", "holes"), [(40, 0), (60, 1), (400, 1)])
def test_silence_counts_as_a_hole_from_50_ms_on(
    programme: Path, pictures: Path, carry: Carry, tmp_path: Path, hole_ms: int, holes: int
):
    samples = programme_audio()
    begin = round(3.123 * 48_000)
    samples[begin : begin + hole_ms * 48] = 0
    out = carry(with_audio(pictures, samples, tmp_path / "damaged.flv"))

    report = verify_recordings(programme, out, log())

    assert report["audio"]["holes"] == holes
    assert report["predicates"]["audio_no_holes"] is (holes == 0)
    if holes:
        hole = report["audio"]["hole_list"][0]
        assert hole["cause"] == "silence"
        assert hole["length_ms"] == pytest.approx(hole_ms, abs=8)
        first_picture_ms = read_recording(programme).video[0].pts_ns / 1e6
        assert hole["start_ms"] == pytest.approx(first_picture_ms + 3_123 + DELAY_MS, abs=8)


def test_an_output_that_is_silent_throughout_is_one_long_hole(
    programme: Path, pictures: Path, carry: Carry, tmp_path: Path
):
    out = carry(with_audio(pictures, 0 * programme_audio(), tmp_path / "silent.flv"))

    report = verify_recordings(programme, out, log())

    assert report["audio"]["holes"] == 1
    assert report["audio"]["max_gap_ms"] > (SECONDS - 0.3) * 1_000


def test_silence_where_the_input_is_silent_too_is_no_hole(
    programme: Path, pictures: Path, carry: Carry, tmp_path: Path
):
    samples = programme_audio()
    samples[3 * 48_000 : 4 * 48_000] = 0
    source = with_audio(pictures, samples, tmp_path / "in.flv")

    report = verify_recordings(source, carry(source), log())

    assert report["audio"]["holes"] == 0


def test_a_dub_shorter_than_clean_speech_leaves_no_hole(
    programme: Path, pictures: Path, carry: Carry, tmp_path: Path
):
    """Speech over silence: where its dub has ended, nothing is owed. The same silence outside a dub is a hole."""
    speech = programme_audio()
    speech[: 2 * 48_000] = 0
    speech[5 * 48_000 :] = 0
    dubbed = speech.copy()
    dubbed[4 * 48_000 :] = 0
    source = with_audio(pictures, speech, tmp_path / "in.flv")
    out = carry(with_audio(pictures, dubbed, tmp_path / "dubbed.flv"))

    as_dub = verify_recordings(source, out, log(fragment(2_000, 3_100)))
    as_original = verify_recordings(source, out, log(fragment(2_000, 3_100, rung="original")))

    assert as_dub["audio"]["holes"] == 0
    assert as_original["audio"]["holes"] == 1


def test_losing_the_background_under_a_dub_is_a_hole(
    programme: Path, pictures: Path, carry: Carry, tmp_path: Path
):
    """The programme sounds between its words too, so silence during a dub is not the dub's pause."""
    samples = programme_audio()
    samples[3 * 48_000 : 4 * 48_000] = 0
    out = carry(with_audio(pictures, samples, tmp_path / "gone.flv"))

    report = verify_recordings(programme, out, log(fragment(2_000, 3_000)))

    assert report["audio"]["holes"] == 1


@pytest.mark.parametrize("shift_ms", [0, 3, 40, -40])
def test_audio_that_trails_the_video_is_measured_without_flash_and_beep(
    programme: Path, carry: Carry, shift_ms: int
):
    def shift(packet: Carried) -> Carried:
        moved = shift_ms if packet.kind == "audio" else 0
        return replace(packet, pts_ms=packet.pts_ms + moved, dts_ms=packet.dts_ms + moved)

    report = verify_recordings(programme, carry(programme, shift), log())

    assert report["audio"]["lag_ms"] == pytest.approx(shift_ms, abs=0.05)
    assert report["predicates"]["audio_aligned"] is (abs(shift_ms) <= 5)
    assert report["verified"] is (abs(shift_ms) <= 5)


def test_the_lag_is_found_under_a_louder_dub(programme: Path, pictures: Path, carry: Carry, tmp_path: Path):
    samples = programme_audio()
    voice = np.random.default_rng(3).standard_normal(len(samples)) * 0.15
    out = carry(with_audio(pictures, samples + voice[:, None], tmp_path / "dubbed.flv"))

    report = verify_recordings(programme, out, log())

    assert report["audio"]["lag_ms"] == pytest.approx(0, abs=0.1)


def test_an_unrelated_soundtrack_has_no_lag(programme: Path, pictures: Path, carry: Carry, tmp_path: Path):
    other = np.random.default_rng(3).standard_normal((SECONDS * 48_000, 2)) * 0.1
    out = carry(with_audio(pictures, other, tmp_path / "other.flv"))

    report = verify_recordings(programme, out, log())

    assert report["audio"]["lag_ms"] is None
    assert "correlate" in report["reasons"]["audio.lag_ms"]


def test_an_output_without_audio_is_not_verified(programme: Path, carry: Carry):
    out = carry(programme, lambda p: p if p.kind == "video" else None)

    report = verify_recordings(programme, out, log())

    assert report["verified"] is False
    assert report["audio"] is None
    assert report["reasons"]["audio"] == "the output carries no audio"


def test_a_publisher_that_returned_with_new_timestamps_is_followed(
    programme: Path, carry: Carry, tmp_path: Path
):
    """Input timestamps start over; the output's go on, 1.5 s of pause between."""
    again = 1_500 + SECONDS * 1_000

    def twice(name: str, second_ms: int) -> Path:
        first = tmp_path / f"{name}-1.flv"
        second = tmp_path / f"{name}-2.flv"
        first.write_bytes(
            carry(programme, lambda p: p if p.dts_ms < 4_000 else None, delay_ms=0).read_bytes()
        )
        second.write_bytes(
            carry(programme, lambda p: p if p.dts_ms > 3_990 else None, delay_ms=second_ms).read_bytes()
        )
        joined = tmp_path / f"{name}.flv"
        # The tags of an FLV file follow its 9-byte header and the first back pointer (Adobe FLV 10.1, annex E).
        joined.write_bytes(first.read_bytes() + second.read_bytes()[13:])
        return joined

    source = twice("in", -3_500)
    out = twice("out", again)
    report = verify_recordings(source, out, parse_events([session(delay_ms=0)]))

    assert report["video"]["identical_share"] == 1.0
    assert report["video"]["offset_max_dev_ms"] <= 1
    assert report["audio"]["resets"] == 0
    assert [hole["cause"] for hole in report["audio"]["hole_list"]] == [
        "pts_gap"
    ]  # the pause between the two
    assert report["audio"]["lag_ms"] == pytest.approx(0, abs=0.5)


def test_figures_of_the_event_log(programme: Path, carry: Carry):
    timings = {"queue_ms": 50, "asr_ms": 400, "translation_ms": 10, "tts_ms": 500, "fit_ms": 90}
    events = log(
        fragment(0, 2_000, margin_ms=3_000, stage_timings=timings, translated_text="one two three"),
        fragment(
            2_000, 2_000, margin_ms=1_000, stage_timings={**timings, "tts_ms": 700}, translated_text="four"
        ),
        fragment(4_000, 1_000, rung="original", reason="late", late=True, margin_ms=-20),
        fragment(5_000, 1_000, rung="original", reason="no_speech", speechless=True),
        {"event": "worker", "cpu_percent": 99.0, "rss_bytes": 1},
        {"event": "worker", "cpu_percent": 8.5, "rss_bytes": 123_456},
    )

    report = verify_recordings(programme, carry(programme), events)

    assert report["fragments"] == {
        "total": 4,
        "dub": 2,
        "ducked": 0,
        "original": 2,
        "late": 1,
        "speechless": 1,
        "dub_share": pytest.approx(2 / 3, abs=1e-4),
        "dubbed_words": 4,
    }
    assert report["readiness_margin"]["min_ms"] == -20
    assert report["readiness_margin"]["p5_ms"] == pytest.approx(
        np.percentile([3_000, 1_000, -20], 5), abs=0.1
    )
    assert report["sts"] == {
        "rtf": pytest.approx(0.55),
        "asr_ms": 400,
        "translation_ms": 10,
        "tts_ms": 600,
        "fit_ms": 90,
    }
    assert report["worker"] == {"cpu_percent": 8.5, "rss_bytes": 123_456}
    assert report["predicates"]["dub_share"] is False
    assert report["predicates"]["readiness"] is False


def arrivals(path: Path, packets: list[tuple[str, int]]) -> None:
    lines = [
        json.dumps(
            {"kind": "video", "pts_ns": 0, "dts_ns": 0, "size_bytes": 1, "sha256": digest, "utc_ns": utc}
        )
        for digest, utc in packets
    ]
    path.with_suffix(".arrivals.jsonl").write_text("\n".join(lines) + "\n")


def test_the_delay_by_wall_clock_comes_from_arrivals_not_from_timestamps(
    programme: Path, carry: Carry, tmp_path: Path
):
    """Trap 1 of the research: video that leaves 700 ms early with correct-looking timestamps."""
    source = tmp_path / "in.flv"
    source.write_bytes(programme.read_bytes())
    out = carry(programme)
    frame_ns = 33_333_333
    arrivals(source, [(f"{n:016x}", n * frame_ns) for n in range(240)])
    arrivals(out, [(f"{n:016x}", n * frame_ns + 1_300_000_000 + n % 7) for n in range(30, 240)])

    report = verify_recordings(source, out, log())

    assert report["video_delay"]["packets"] == 210
    assert report["video_delay"]["by_second_ms"] == [
        [second, pytest.approx(1_300, abs=0.01)] for second in range(7)
    ]
    assert report["video_delay"]["median_ms"] == pytest.approx(1_300, abs=0.01)
    assert report["video_delay"]["median_error_ms"] == pytest.approx(-700, abs=0.01)
    assert report["predicates"]["video_delay_median"] is False
    assert report["predicates"]["delay_constant"] is True
    assert report["verified"] is False


def test_a_frame_in_a_hundred_may_be_noticed_late_but_not_two(programme: Path, carry: Carry, tmp_path: Path):
    source = tmp_path / "in.flv"
    source.write_bytes(programme.read_bytes())
    out = carry(programme)
    sent = [(f"{n:016x}", n * 33_333_333) for n in range(240)]

    def judged(late_frames: int):
        arrivals(source, sent)
        arrivals(
            out,
            [
                (digest, utc + (2_200 if n < late_frames else 2_010) * 1_000_000)
                for n, (digest, utc) in enumerate(sent)
            ],
        )
        return verify_recordings(source, out, log())

    assert judged(2)["predicates"]["video_delay_steady"] is True
    assert judged(2)["video_delay"]["max_dev_ms"] == pytest.approx(200, abs=0.01)
    assert judged(5)["predicates"]["video_delay_steady"] is False


def test_without_sidecars_the_wall_clock_delay_is_null_with_a_reason(programme: Path, carry: Carry):
    report = verify_recordings(programme, carry(programme), log())

    assert report["video_delay"] is None
    assert "in.arrivals.jsonl" in report["reasons"]["video_delay"]


def test_without_events_their_figures_are_null_with_a_reason(programme: Path, carry: Carry):
    report = verify_recordings(programme, carry(programme), None)

    for name in ("fragments", "readiness_margin", "sts", "worker"):
        assert report[name] is None
        assert report["reasons"][name] == "no event log was given"
    assert report["delay_ms"] == DELAY_MS


@pytest.mark.parametrize("content", [b"", b"this is no recording", None])
def test_an_unreadable_file_is_named(programme: Path, tmp_path: Path, content: bytes | None):
    broken = tmp_path / "broken.flv"
    if content is not None:
        broken.write_bytes(content)

    with pytest.raises(InvalidInputError, match=r"broken\.flv"):
        verify_recordings(programme, broken, None)


def test_an_event_that_lacks_a_field_is_named():
    with pytest.raises(InvalidInputError, match=r"event 1 .*duration_ns"):
        parse_events([{"event": "fragment", "start_ns": 0, "rung": "dub"}])


def test_every_null_figure_has_a_reason(programme: Path, carry: Carry):
    report = verify_recordings(programme, carry(programme), None)

    nulls = {name for name, value in report.items() if value is None}
    assert nulls <= set(report["reasons"])
