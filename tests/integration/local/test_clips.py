import subprocess
from pathlib import Path

import av
import pytest

from livedub.errors import InvalidInputError
from local.clips import prepare_input, to_mp4
from local.processes import Supervisor


def make(path: Path, *arguments: str) -> Path:
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=3")
    sound = ("-f", "lavfi", "-i", "sine=frequency=440:duration=3")
    argv = ("ffmpeg", "-loglevel", "error", "-nostdin", "-y", *picture, *sound, *arguments, str(path))
    subprocess.run(argv, check=True, timeout=60)
    return path


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [bytes(packet) for packet in container.demux(*streams) if packet.size] if streams else []


async def test_what_rtmp_carries_is_copied(supervisor: Supervisor, tmp_path: Path):
    source = make(tmp_path / "a.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    await prepare_input(supervisor, source, tmp_path / "clip.mp4", seconds=60)
    assert packets(tmp_path / "clip.mp4", "audio") == packets(source, "audio")
    assert len(packets(tmp_path / "clip.mp4", "video")) == 30


async def test_what_rtmp_does_not_carry_is_encoded_and_cut(supervisor: Supervisor, tmp_path: Path):
    source = make(tmp_path / "a.mkv", "-c:v", "mpeg4", "-c:a", "libopus")
    await prepare_input(supervisor, source, tmp_path / "clip.mp4", seconds=2)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        codecs = {stream.type: stream.codec_context.name for stream in container.streams}
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(2, abs=0.15)
    assert codecs == {"video": "h264", "audio": "aac"}


async def test_an_audio_file_gets_a_test_picture_that_lasts_as_long(supervisor: Supervisor, tmp_path: Path):
    source = make(tmp_path / "a.wav", "-map", "1:a")
    await prepare_input(supervisor, source, tmp_path / "clip.mp4", seconds=60)
    frames = len(packets(tmp_path / "clip.mp4", "video"))
    assert 3 * 30 <= frames <= 4 * 30, "the encoder looks ahead, so the picture may last a moment longer"
    assert packets(tmp_path / "clip.mp4", "audio")


async def test_what_cannot_be_dubbed_is_named(supervisor: Supervisor, tmp_path: Path):
    target = tmp_path / "clip.mp4"
    with pytest.raises(InvalidInputError, match=r"absent\.mkv does not exist"):
        await prepare_input(supervisor, tmp_path / "absent.mkv", target, seconds=5)
    silent = make(tmp_path / "silent.mkv", "-map", "0:v", "-c:v", "mpeg4")
    with pytest.raises(InvalidInputError, match="has no audio track"):
        await prepare_input(supervisor, silent, target, seconds=5)
    (tmp_path / "text.mp4").write_text("no media")
    with pytest.raises(InvalidInputError, match=r"text\.mp4 is no media file"):
        await prepare_input(supervisor, tmp_path / "text.mp4", target, seconds=5)


async def test_a_recording_becomes_an_mp4_that_starts_at_zero(supervisor: Supervisor, tmp_path: Path):
    flv = make(
        tmp_path / "rec.flv",
        *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-c:a", "aac", "-output_ts_offset", "100"),
    )
    await to_mp4(supervisor, flv, tmp_path / "rec.mp4")
    with av.open(str(tmp_path / "rec.mp4")) as container:
        assert container.start_time is not None
        assert abs(container.start_time) < 100_000, "microseconds"
    assert packets(tmp_path / "rec.mp4", "audio") == packets(flv, "audio")
