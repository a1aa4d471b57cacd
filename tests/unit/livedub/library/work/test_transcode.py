"""Encoding by preset: what comes out, that it is the same every time, and that a cancelled one is gone."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import av
import pytest

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.presets import BUILT_IN
from livedub.library.types import (
    AudioEncoding,
    Container,
    Job,
    JobKind,
    Preset,
    TranscodeParameters,
    VideoEncoding,
)
from livedub.library.work.run import needs_ffmpeg
from livedub.library.work.transcode import part_stem
from livedub.library.work.work_ports import JobCancelledError
from tests.unit.livedub.library.work.work_rig import (
    FolderStorage,
    Watched,
    job_of,
    make_clip,
    numbers_of,
    run,
    samples_of,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mkv", seconds=5)


def job(preset: Preset, output: str) -> Job:
    return job_of(TranscodeParameters(preset=preset.name), JobKind.TRANSCODE, "clip.mkv", output, preset)


def encode(tmp_path: Path, clip: Path, preset: Preset, output: str) -> tuple[FolderStorage, Path]:
    storage = FolderStorage(tmp_path)
    storage.put("clip.mkv", clip)
    outputs = run(job(preset, output), storage, tmp_path)
    assert outputs[-1].key == output
    assert [made.key for made in sorted(outputs, key=lambda made: made.key)] == storage.keys()
    assert not list((tmp_path / "work").iterdir())
    return storage, storage.path("mpr-media-out", output)


def streams_of(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [(stream.type, stream.codec_context.name) for stream in container.streams]


def small(**changes: object) -> Preset:
    return Preset.model_validate(
        {
            "name": "small",
            "container": Container.MP4,
            "video": VideoEncoding(max_height=144, speed="ultrafast", max_bitrate_kbps=500),
            "audio": AudioEncoding(bitrate_kbps=64),
            **changes,
        }
    )


def test_a_preset_for_the_web_keeps_every_frame_and_never_enlarges(clip: Path, tmp_path: Path):
    _, made = encode(tmp_path, clip, BUILT_IN["web-720p"], "out/clip.mp4")
    assert streams_of(made) == [("video", "h264"), ("audio", "aac")]
    with av.open(str(made)) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height, context.pix_fmt) == (192, 96, "yuv420p")
    assert numbers_of(made) == list(range(125))
    head = made.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat"), "a browser starts before it has all"


def test_a_large_picture_shrinks_to_even_sizes(tmp_path: Path, clip: Path):
    preset = small(video=VideoEncoding(max_height=1080, max_bitrate_kbps=500))
    wide = tmp_path / "wide.mkv"
    with av.open(str(wide), "w") as output:
        stream: Any = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for number in range(5):
            frame = av.VideoFrame(640, 360, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    preset = small(video=VideoEncoding(max_height=201, speed="ultrafast", max_bitrate_kbps=500))
    _, made = encode(tmp_path, wide, preset, "out.mp4")
    with av.open(str(made)) as container:
        context = container.streams.video[0].codec_context
        # 640 x 360 with pixels a third wider than high is 853 x 360; of that 200 lines.
        assert (context.width, context.height) == (474, 200)
        assert context.sample_aspect_ratio in {None, 1}


def test_audio_only_leaves_the_picture_out(clip: Path, tmp_path: Path):
    _, made = encode(tmp_path, clip, BUILT_IN["audio-only"], "out/clip.m4a")
    assert streams_of(made) == [("audio", "aac")]
    assert abs(len(samples_of(made)) - 5 * 48_000) <= 1_024


def test_hls_has_a_playlist_with_parts_that_are_there(clip: Path, tmp_path: Path):
    preset = small(container=Container.HLS, hls_part_s=2)
    storage, made = encode(tmp_path, clip, preset, "out/a film/watch.m3u8")
    lines = made.read_text().splitlines()
    parts = [line for line in lines if line and not line.startswith("#")]
    assert parts == ["watch-00000.m4s", "watch-00001.m4s", "watch-00002.m4s"]
    assert [line for line in lines if line.startswith("#EXTINF")][:2] == ["#EXTINF:2.000000,"] * 2
    named = {f"out/a film/{part}" for part in parts} | {"out/a film/watch-init.mp4", "out/a film/watch.m3u8"}
    assert set(storage.keys()) == named
    assert numbers_of(made) == list(range(125))


@pytest.mark.parametrize(("key", "stem"), [("a/b/film.m3u8", "film"), ("film_2-x.m3u8", "film_2-x")])
def test_parts_are_called_after_their_playlist(key: str, stem: str):
    assert part_stem(PurePosixPath(key)) == stem


@pytest.mark.parametrize(
    "key", ["a film.m3u8", "100%d.m3u8", "\N{CLAPPER BOARD}.m3u8", "#1?.m3u8", "x" * 200 + ".m3u8"]
)
def test_names_that_no_url_may_carry_are_replaced_each_by_its_own(key: str):
    stem = part_stem(PurePosixPath(key))
    assert stem.isalnum()
    assert stem != part_stem(PurePosixPath("other " + key))


def test_the_same_job_makes_the_same_bytes(clip: Path, tmp_path: Path):
    _, first = encode(tmp_path / "1", clip, small(), "out.mp4")
    _, second = encode(tmp_path / "2", clip, small(), "out.mp4")
    assert first.read_bytes() == second.read_bytes()


def test_only_transcoding_needs_the_program():
    assert needs_ffmpeg(job(small(), "out.mp4"))


def test_cancelling_ends_it_and_leaves_nothing(tmp_path: Path, clip: Path):
    storage = FolderStorage(tmp_path)
    storage.put("clip.mkv", clip)
    work = tmp_path / "work"
    endless = small(video=VideoEncoding(max_height=4_320, speed="slow", quality=0, max_bitrate_kbps=100_000))
    with pytest.raises(JobCancelledError):
        run(job(endless, "out.mp4"), storage, tmp_path, Watched(lambda: any(work.glob("*/files/made/*"))))
    assert storage.keys() == []
    assert not list(work.iterdir())


def storing_until(tmp_path: Path, clip: Path, stop: Callable[[FolderStorage], bool]) -> FolderStorage:
    storage = FolderStorage(tmp_path)
    storage.put("clip.mkv", clip)
    preset = small(container=Container.HLS, hls_part_s=2)
    run(job(preset, "o/watch.m3u8"), storage, tmp_path, Watched(lambda: stop(storage)))
    return storage


def test_a_cancellation_during_the_upload_takes_away_what_was_stored(tmp_path: Path, clip: Path):
    with pytest.raises(JobCancelledError):
        storing_until(tmp_path, clip, lambda storage: len(storage.keys()) >= 2)
    storage = FolderStorage(tmp_path)
    assert storage.keys() == []


def test_an_attempt_that_lost_the_job_touches_nothing_of_its_successor(tmp_path: Path, clip: Path):
    def fenced(storage: FolderStorage) -> bool:
        if len(storage.keys()) >= 2:
            raise LibraryError(LibraryErrorCode.FENCED, "somebody else has it")
        return False

    with pytest.raises(LibraryError, match="somebody else"):
        storing_until(tmp_path, clip, fenced)
    keys = FolderStorage(tmp_path).keys()
    assert len(keys) >= 2
    assert "o/watch.m3u8" not in keys, "no playlist without its parts"
    assert not list((tmp_path / "work").iterdir())
