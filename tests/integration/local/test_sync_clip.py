"""The clip is an instrument: what it claims is measured here, in samples and frames."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from local import sync_clip
from local.sync_clip import FLASH_BOX, INDEX_BITS, event_times_ms, index_box, scaled_box

SECONDS = 7


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def pictures(path: Path):
    """(pts_ns, luma) of every picture."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)[
                :, : frame.width
            ]
            assert frame.pts is not None
            assert frame.time_base is not None
            yield int(frame.pts * frame.time_base * 1_000_000_000), luma


def is_white(luma: np.ndarray, box: tuple[int, int, int, int]) -> bool:
    x, y, width, height = scaled_box(box, luma.shape[1], luma.shape[0])
    middle = luma[y + height // 4 : y + 3 * height // 4, x + width // 4 : x + 3 * width // 4]
    return bool(middle.mean() > 128)


def flashes(path: Path):
    """(pts_ms, event index) of the first picture of every flash."""
    found, before = [], False
    for pts_ns, luma in pictures(path):
        now = is_white(luma, FLASH_BOX)
        if now and not before:
            index = sum(1 << bit for bit in range(INDEX_BITS) if is_white(luma, index_box(bit)))
            found.append((round(pts_ns / 1e6), index))
        before = now
    return found


def beeps_ms(path: Path):
    """When every beep starts, by the samples' own times."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        chunks = list(container.decode(audio=0))
    assert chunks[0].pts is not None
    assert chunks[0].time_base is not None
    start = round(chunks[0].pts * chunks[0].time_base * rate)
    loud = np.flatnonzero(np.abs(np.concatenate([chunk.to_ndarray()[0] for chunk in chunks])) > 0.15)
    first = loud[np.r_[True, np.diff(loud) > rate // 2]]
    return [(start + int(sample)) * 1000 / rate for sample in first]


@pytest.mark.parametrize("kind", sorted(sync_clip.KINDS))
def test_every_event_flashes_on_time_with_its_index(kind: str, cache_dir: Path):
    path = sync_clip.sync_clip(kind, SECONDS, cache_dir)
    assert flashes(path) == [(ms, index) for index, ms in enumerate(event_times_ms(SECONDS))]


@pytest.mark.parametrize("kind", ["standard", "baseline", "small"])
def test_every_beep_starts_with_its_flash(kind: str, cache_dir: Path):
    path = sync_clip.sync_clip(kind, SECONDS, cache_dir)
    # The sine needs a moment to become loud, and AAC smears an onset by a fraction of a millisecond.
    assert beeps_ms(path) == pytest.approx(event_times_ms(SECONDS), abs=1.0)


def test_the_standard_clip_is_high_profile_with_b_frames_and_fixed_keyframes(cache_dir: Path):
    with av.open(str(sync_clip.sync_clip("standard", SECONDS, cache_dir))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.profile == "High"
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    shown = [packet.pts or 0 for packet in packets]
    assert any(later < earlier for earlier, later in pairwise(shown)), "pictures are reordered"
    assert [index for index, packet in enumerate(packets) if packet.is_keyframe] == [0, 60, 120, 180]


def test_the_variants_are_what_they_are_called(cache_dir: Path):
    with av.open(str(sync_clip.sync_clip("small", SECONDS, cache_dir))) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, audio.rate, audio.channels) == (640, 360, 44_100, 1)
    with av.open(str(sync_clip.sync_clip("silent", SECONDS, cache_dir))) as container:
        assert not container.streams.audio
    with av.open(str(sync_clip.sync_clip("baseline", SECONDS, cache_dir))) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.pts is not None]
        assert all(packet.pts == packet.dts for packet in packets)


def test_a_clip_is_made_once_and_left_without_scraps(cache_dir: Path):
    path = sync_clip.sync_clip("small", SECONDS, cache_dir)
    made = path.stat().st_mtime_ns
    assert sync_clip.sync_clip("small", SECONDS, cache_dir).stat().st_mtime_ns == made
    assert sync_clip.sync_clip("small", 2, cache_dir) != path
    assert not [entry for entry in cache_dir.iterdir() if entry.name.startswith(".")]
