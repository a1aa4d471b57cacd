"""Cutting pieces out of files whose frames carry their numbers."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from livedub.library.types import JobKind, TrimParameters
from livedub.library.work.work_ports import JobCancelledError
from tests.unit.livedub.dubbing.test_media_file import run_ffmpeg
from tests.unit.livedub.library.work.work_rig import (
    RATE_HZ,
    FolderStorage,
    Watched,
    job_of,
    make_clip,
    numbers_of,
    run,
    samples_of,
    sound,
    times_of,
)

OPEN_GROUPS = {"preset": "ultrafast", "x264-params": "open-gop=1:bframes=3:keyint=30:scenecut=0"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def clip(clips: Path, name: str, **how: object) -> Path:
    path = clips / name
    return path if path.exists() else make_clip(path, **how)  # type: ignore[arg-type]


def trim(tmp_path: Path, source: Path, start_ms: int, end_ms: int, output: str, *, exact: bool) -> Path:
    storage = FolderStorage(tmp_path)
    storage.put(source.name, source)
    job = job_of(
        TrimParameters(start_ms=start_ms, end_ms=end_ms, exact=exact), JobKind.TRIM, source.name, output
    )
    (made,) = run(job, storage, tmp_path)
    path = storage.path("mpr-media-out", output)
    assert (made.key, made.size_bytes) == (output, path.stat().st_size)
    assert not list((tmp_path / "work").iterdir())
    return path


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.flv"])
def test_a_copy_goes_from_key_frame_to_key_frame(clips: Path, tmp_path: Path, name: str):
    source = clip(clips, name)
    made = trim(tmp_path, source, 1_500, 3_500, f"out/{name}", exact=False)
    assert numbers_of(made) == list(range(30, 90))
    assert packets_of(made) == [packet for packet in packets_of(source) if packet in set(packets_of(made))]
    assert 2.3 < len(samples_of(made)) / RATE_HZ < 2.5


def test_a_copy_that_ends_within_an_open_group_goes_on_to_the_next(clips: Path, tmp_path: Path):
    source = clip(clips, "open.mp4", options=OPEN_GROUPS)
    made = trim(tmp_path, source, 1_500, 3_560, "out.mp4", exact=False)
    numbers = numbers_of(made)
    assert numbers[0] == 30
    assert set(range(38, 89)) <= set(numbers)


def test_a_copy_of_everything_keeps_everything(clips: Path, tmp_path: Path):
    source = clip(clips, "a.mp4")
    made = trim(tmp_path, source, 0, 6_000, "out.mp4", exact=False)
    assert packets_of(made) == packets_of(source)


def test_a_copy_of_sound_takes_the_packets_within(clips: Path, tmp_path: Path):
    source = clip(clips, "sound.m4a", video=None)
    made = trim(tmp_path, source, 1_000, 3_000, "out.m4a", exact=False)
    assert abs(len(samples_of(made)) - 2 * RATE_HZ) <= 2 * 1_024


def frames_within(rate: Fraction, start_ms: int, end_ms: int) -> list[int]:
    return [number for number in range(round(6 * rate)) if start_ms <= number * 1_000 / rate < end_ms]


SPANS = [(1_500, 3_500), (1_200, 3_600), (100, 900), (0, 6_000), (1, 4_999)]
"""Within groups, along their borders, inside a single one, everything, and nearly so."""


@pytest.mark.parametrize(("start_ms", "end_ms"), SPANS)
def test_first_and_last_frame_and_sample_are_right(clips: Path, tmp_path: Path, start_ms: int, end_ms: int):
    made = trim(tmp_path, clip(clips, "a.mp4"), start_ms, end_ms, "out.mp4", exact=True)
    expected = frames_within(Fraction(25), start_ms, end_ms)
    assert numbers_of(made) == expected
    assert times_of(made)[0] == pytest.approx(expected[0] / 25 - start_ms / 1_000, abs=0.001)
    assert_same_sound(samples_of(made), start_ms, end_ms)
    with av.open(str(made)) as container:
        assert abs((container.duration or 0) / 1_000 - (end_ms - start_ms)) <= 1


def assert_same_sound(samples: np.ndarray, start_ms: int, end_ms: int, *, lossless: bool = False) -> None:
    expected = sound(6 * RATE_HZ)[start_ms * 48 : end_ms * 48]
    assert len(samples) == len(expected)
    if lossless:
        assert np.abs(samples - expected).max() <= 1 / 32_768
        return
    # Noise is like itself only where it lies right: 20 ms at either end, moved by a sample, would not fit.
    for place in (slice(2_000, 3_000), slice(-2_000, -1_000)):
        fits = [
            float(np.corrcoef(samples[place, 0], np.roll(expected[:, 0], move)[place])[0, 1])
            for move in range(-3, 4)
        ]
        assert int(np.argmax(fits)) == 3, fits
        assert fits[3] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how", "output"),
    [
        ("a.mkv", {}, "out.mkv"),
        ("a.mkv", {}, "out.mp4"),
        ("a.mov", {}, "out.mov"),
        ("open.mp4", {"options": OPEN_GROUPS}, "out.mp4"),
        ("deep.mp4", {"options": {"preset": "medium", "bf": "3"}}, "out.mp4"),
        ("old.mp4", {"video": "mpeg4", "options": {"qscale": "3"}}, "out.mp4"),
        ("a.webm", {"video": "libvpx-vp9", "audio": "libopus", "options": VP9}, "out.webm"),
    ],
)
def test_containers_and_codecs_are_cut_as_exactly(
    clips: Path, tmp_path: Path, name: str, how: dict[str, object], output: str
):
    made = trim(tmp_path, clip(clips, name, **how), 1_500, 3_500, output, exact=True)
    assert numbers_of(made) == frames_within(Fraction(25), 1_500, 3_500)
    assert_same_sound(samples_of(made), 1_500, 3_500)


@pytest.mark.slow
def test_frame_rates_that_are_no_whole_numbers(clips: Path, tmp_path: Path):
    rate = Fraction(30_000, 1_001)
    made = trim(tmp_path, clip(clips, "ntsc.mp4", rate=rate), 1_234, 3_457, "out.mp4", exact=True)
    assert numbers_of(made) == frames_within(rate, 1_234, 3_457)


@pytest.mark.parametrize(
    ("name", "codec", "lossless"),
    [
        ("s.wav", "pcm_s16le", True),
        ("s.flac", "flac", True),
        ("s.m4a", "aac", False),
        ("s.mp3", "libmp3lame", False),
        ("s.ogg", "libopus", False),
    ],
)
def test_sound_alone_is_cut_to_the_sample(clips: Path, tmp_path: Path, name: str, codec: str, lossless: bool):
    source = clip(clips, name, video=None, audio=codec)
    made = trim(tmp_path, source, 1_001, 3_002, f"out{source.suffix}", exact=True)
    assert_same_sound(samples_of(made), 1_001, 3_002, lossless=lossless)


def test_only_the_edges_are_encoded_anew(clips: Path, tmp_path: Path):
    source = clip(clips, "a.mp4")
    made = packets_of(trim(tmp_path, source, 100, 5_000, "out.mp4", exact=True))
    # Frames 30 to 119; parameter sets come with the first packet of a group, so those differ.
    assert len(set(made) & set(packets_of(source))) >= 87


def test_no_picture_gets_worse_where_copy_and_edge_meet(clips: Path, tmp_path: Path):
    source = clip(clips, "a.mp4")
    made = trim(tmp_path, source, 900, 5_500, "out.mp4", exact=True)
    with av.open(str(source)) as one, av.open(str(made)) as other:
        expected = [frame.to_ndarray(format="gray") for frame in one.decode(video=0)][23:138]
        got = [frame.to_ndarray(format="gray") for frame in other.decode(video=0)]
    errors = [float(np.square(a.astype(float) - b).mean()) for a, b in zip(expected, got, strict=True)]
    assert max(errors) < 40  # 32 dB
    assert errors[7:97] == [0.0] * 90  # the copied ones, frames 30 to 119


def test_the_same_cut_makes_the_same_bytes(clips: Path, tmp_path: Path):
    source = clip(clips, "a.mkv")
    first = trim(tmp_path / "1", source, 700, 3_100, "out.mkv", exact=True).read_bytes()
    assert trim(tmp_path / "2", source, 700, 3_100, "out.mkv", exact=True).read_bytes() == first


CUES = """1
00:00:00,500 --> 00:00:02,000
before and within

2
00:00:02,500 --> 00:00:03,000
within

3
00:00:03,200 --> 00:00:05,000
within and behind

4
00:00:05,500 --> 00:00:05,900
behind
"""


def test_subtitles_are_cut_too_and_sound_tracks_are_all_kept(clips: Path, tmp_path: Path):
    film = clip(clips, "a.mkv")
    (tmp_path / "cues.srt").write_text(CUES)
    both = tmp_path / "both.mkv"
    inputs = ["-i", str(film), "-i", str(tmp_path / "cues.srt")]
    maps = ["-map", "0:v", "-map", "0:a", "-map", "0:a", "-map", "1", "-metadata:s:a:1", "language=fra"]
    run_ffmpeg(*inputs, *maps, "-c", "copy", str(both))
    made = trim(tmp_path, both, 1_500, 3_500, "out.mkv", exact=True)
    with av.open(str(made)) as container:
        assert [stream.metadata.get("language") for stream in container.streams.audio] == [None, "fra"]
        cues = [
            (packet.pts, packet.duration, bytes(packet))
            for packet in container.demux(container.streams.subtitles[0])
            if packet.size
        ]
    assert cues == [
        (0, 500, b"before and within"),
        (1_000, 500, b"within"),
        (1_700, 300, b"within and behind"),
    ]
    copied = trim(tmp_path / "copied", both, 1_500, 3_500, "out.mkv", exact=False)
    assert numbers_of(copied) == list(range(30, 90))
    with av.open(str(copied)) as container:
        assert len(container.streams.audio) == 2


@pytest.mark.parametrize("exact", [False, True])
def test_a_cancelled_cut_leaves_nothing(clips: Path, tmp_path: Path, exact: bool):
    source = clip(clips, "a.mp4")
    storage = FolderStorage(tmp_path)
    storage.put(source.name, source)
    job = job_of(
        TrimParameters(start_ms=100, end_ms=5_900, exact=exact), JobKind.TRIM, source.name, "out.mp4"
    )
    asked: list[None] = []

    def later() -> bool:
        asked.append(None)
        return len(asked) > 2

    with pytest.raises(JobCancelledError):
        run(job, storage, tmp_path, Watched(later))
    assert storage.keys() == []
    assert not list((tmp_path / "work").iterdir())
