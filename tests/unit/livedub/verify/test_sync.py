"""A/V offset is measured to a fraction of a millisecond, and an offset that was put in comes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.recording import read_audio
from livedub.verify.report import verify_recordings
from livedub.verify.sync import PATTERN, beep_onsets_ns, measure_sync, sync_events
from livedub.verify.track import AudioTrack
from local import sync_clip

from .conftest import DELAY_MS, Carried, Carry, ffmpeg


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s of the clip that streams are measured with, half size, as FLV."""
    folder = tmp_path_factory.mktemp("sync")
    made = sync_clip.make_sync_clip(sync_clip.SyncClip(seconds=12, width=640, height=360), folder)
    flv = folder / "in.flv"
    ffmpeg("-i", str(made), "-c", "copy", str(flv))
    return flv


def test_the_verifier_reads_the_pattern_that_the_clip_draws():
    assert (PATTERN.reference_width, PATTERN.reference_height) == (
        sync_clip.REFERENCE_WIDTH,
        sync_clip.REFERENCE_HEIGHT,
    )
    assert PATTERN.strip_height == sync_clip.STRIP_HEIGHT
    assert PATTERN.flash_box == sync_clip.FLASH_BOX
    assert PATTERN.index_bits == sync_clip.INDEX_BITS
    assert [PATTERN.index_box(bit) for bit in range(16)] == [sync_clip.index_box(bit) for bit in range(16)]
    assert PATTERN.period_ms == sync_clip.EVENT_PERIOD_MS
    assert (PATTERN.beep_hz, PATTERN.beep_ms) == (sync_clip.BEEP_HZ, sync_clip.BEEP_MS)


def test_the_clip_itself_is_in_sync(clip: Path):
    events = sync_events(clip, read_audio(clip))

    assert [event.index for event in events] == [1, 2, 3, 4, 5]
    assert all(abs(event.offset_ns) < 1_000_000 for event in events)


def test_onsets_are_found_between_samples():
    rate_hz = 48_000
    starts = [1.0, 1.5000104, 2.7213]
    time_s = np.arange(4 * rate_hz) / rate_hz
    mono = np.zeros_like(time_s)
    for start in starts:
        inside = (time_s >= start) & (time_s < start + 0.1)
        mono[inside] = 0.5 * np.sin(2 * np.pi * 1_000 * (time_s[inside] - start))
    track = AudioTrack(5_000_000_000, np.repeat(mono[:, None], 2, axis=1).astype(np.float32))

    onsets = beep_onsets_ns(track)

    assert onsets == pytest.approx([5e9 + start * 1e9 for start in starts], abs=30_000)


def test_quiet_beeps_are_measured_like_loud_ones():
    rate_hz = 48_000
    mono = np.zeros(3 * rate_hz)
    beep = np.sin(2 * np.pi * 1_000 * np.arange(4_800) / rate_hz)
    mono[rate_hz : rate_hz + 4_800] = 0.6 * beep
    mono[2 * rate_hz : 2 * rate_hz + 4_800] = 0.08 * beep
    track = AudioTrack(0, np.repeat(mono[:, None], 2, axis=1).astype(np.float32))

    assert beep_onsets_ns(track) == pytest.approx([1e9, 2e9], abs=30_000)


@pytest.mark.parametrize("shift_ms", [0, 4, -7, 40])
def test_a_shift_of_the_audio_is_measured(clip: Path, carry: Carry, shift_ms: int):
    def shift(packet: Carried) -> Carried:
        moved = shift_ms if packet.kind == "audio" else 0
        return replace(packet, pts_ms=packet.pts_ms + moved, dts_ms=packet.dts_ms + moved)

    report = verify_recordings(clip, carry(clip, shift), None)

    assert report["sync"]["relative_to_input"] is True
    assert report["sync"]["events"] >= 4
    assert report["sync"]["median_ms"] == pytest.approx(shift_ms, abs=0.1)
    assert report["sync"]["max_abs_ms"] == pytest.approx(abs(shift_ms), abs=0.2)
    assert report["predicates"]["sync_median"] is (abs(shift_ms) <= 5)
    assert report["predicates"]["sync_every_event"] is (abs(shift_ms) <= 25)
    assert report["verified"] is (abs(shift_ms) <= 5)


def test_one_event_out_of_sync_is_seen(clip: Path, carry: Carry):
    def shift(packet: Carried) -> Carried | None:
        if packet.kind == "audio" and 7_760 < packet.pts_ms < 7_835:
            return None  # room for the ones before it, which come late
        moved = 30 if packet.kind == "audio" and 6_500 < packet.pts_ms <= 7_760 else 0
        return replace(packet, pts_ms=packet.pts_ms + moved, dts_ms=packet.dts_ms + moved)

    report = verify_recordings(clip, carry(clip, shift), None)

    assert abs(report["sync"]["median_ms"]) < 0.1
    assert report["sync"]["max_abs_ms"] == pytest.approx(30, abs=0.5)
    assert report["predicates"]["sync_every_event"] is False


def test_the_first_event_after_a_join_is_left_out(clip: Path, carry: Carry):
    def join(packet: Carried) -> Carried | None:
        if packet.dts_ms < 3_990:
            return None
        late = 21 if packet.kind == "audio" and packet.dts_ms < 6_000 else 0
        return replace(packet, pts_ms=packet.pts_ms + late, dts_ms=packet.dts_ms + late)

    report = verify_recordings(clip, carry(clip, join), None)

    assert report["sync"]["events"] == 3
    assert report["sync"]["max_abs_ms"] < 1


def test_without_the_input_s_events_the_output_s_own_offset_counts(clip: Path, carry: Carry, tmp_path: Path):
    silent = carry(clip, lambda packet: packet if packet.kind == "video" else None, name="silent.flv")
    out = carry(clip, delay_ms=DELAY_MS)

    figures = measure_sync(Evidence.read(silent, out, None))

    assert figures.relative_to_input is False
    assert figures.events >= 4
    assert abs(figures.median_ms or 99) < 1


def test_a_clip_without_the_pattern_cannot_tell(programme: Path, carry: Carry):
    report = verify_recordings(programme, carry(programme), None)

    assert report["sync"] is None
    assert report["reasons"]["sync"] == "the clip carries no flash-and-beep pattern"
    with pytest.raises(CannotTell):
        sync_events(programme, read_audio(programme))
