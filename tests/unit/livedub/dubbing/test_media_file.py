"""Dubbing files: what is copied, what is replaced, what is refused."""

import asyncio
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from livedub.audio.pcm import Samples
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.media_file import dub_media_file
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock
from livedub.errors import InvalidInputError
from livedub.sts.contract import StsRequest, StsResult, Target
from tests.unit.livedub.dubbing.programme import (
    DUB_HZ,
    RATE,
    SPEECH_HZ,
    OnPartial,
    ScriptedSts,
    config,
    level,
)
from tests.unit.livedub.dubbing.test_languages import TONES_HZ, dub_in, result_of

BURSTS = "0.5*sin(2*PI*200*t)*(between(t\\,1\\,2.5)+between(t\\,4\\,6))"


def run_ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


def make(path: Path, *, video: bool = True, seconds: float = 8.0, audio: str = BURSTS) -> Path:
    command: list[str] = []
    if video:
        command += ["-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25:duration={seconds}"]
    command += ["-f", "lavfi", "-i", f"aevalsrc='{audio}|{audio}':s=44100:d={seconds}"]
    if video:
        command += ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"]
    run_ffmpeg(*command, str(path))
    return path


async def dub(source: Path, target: Path, settings: DubbingConfig | None = None) -> list[tuple[float, float]]:
    settings = settings or config(delay_ns=20_000_000_000)
    seen: list[tuple[float, float]] = []

    def make_session(clock: VirtualClock) -> DubbingSession:
        return DubbingSession(settings, ScriptedSts(), clock, lambda _: None)

    await dub_media_file(
        source, target, settings, make_session, lambda done, total: seen.append((done, total))
    )
    return seen


def audio_of(path: Path, track: int = 0) -> Samples:
    """48 kHz mono from time 0."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="stereo", rate=RATE)
        blocks: list[Samples] = []
        start: float | None = None
        for frame in container.decode(audio=track):
            start = frame.time if start is None else start
            blocks += [out.to_ndarray().reshape(-1, 2).mean(axis=1) for out in resampler.resample(frame)]
    assert start is not None
    lead = round(start * RATE)
    samples = np.concatenate(blocks)
    return np.concatenate((np.zeros(lead, np.float32), samples)) if lead >= 0 else samples[-lead:]


def video_packets(path: Path) -> list[tuple[bytes, float]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (bytes(packet), round(float(packet.pts * packet.time_base), 3))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
async def test_video_is_copied_and_speech_replaced_in_place(tmp_path: Path, suffix: str):
    source = make(tmp_path / "in.mp4")
    target = tmp_path / f"out{suffix}"
    seen = await dub(source, target)
    copied, original = video_packets(target), video_packets(source)
    assert [data for data, _ in copied] == [data for data, _ in original]
    offsets = {round(after - before, 2) for (_, after), (_, before) in zip(copied, original, strict=True)}
    assert len(offsets) == 1
    assert abs(offsets.pop()) < 0.03
    sound = audio_of(target)
    for start in (1.4, 4.4):
        inside = sound[int(start * RATE) : int((start + 0.8) * RATE)]
        assert level(inside, DUB_HZ) == pytest.approx(0.3, abs=0.03)
        assert level(inside, SPEECH_HZ) == pytest.approx(0.1, abs=0.03)
    assert abs(len(sound) / RATE - 8.0) < 0.06
    assert seen[-1][0] == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".m4a"])
async def test_audio_only_files_work(tmp_path: Path, suffix: str):
    source = make(tmp_path / f"in{suffix}", video=False)
    target = tmp_path / f"out{suffix}"
    await dub(source, target)
    sound = audio_of(target)
    assert level(sound[int(4.4 * RATE) : int(5.4 * RATE)], DUB_HZ) == pytest.approx(0.3, abs=0.03)
    assert leftovers(tmp_path) == []


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


async def test_one_channel_keeps_its_level(tmp_path: Path):
    source = tmp_path / "mono.wav"
    run_ffmpeg("-f", "lavfi", "-i", f"aevalsrc='{BURSTS}+0.2*sin(2*PI*900*t)':s=44100:d=8", str(source))
    await dub(source, tmp_path / "out.wav")
    sound = audio_of(tmp_path / "out.wav")
    assert level(sound[int(0.2 * RATE) : int(0.8 * RATE)], 900) == pytest.approx(0.2, abs=0.01)


async def refused(source: Path, target: Path, match: str) -> None:
    before = set(target.parent.iterdir()) if target.parent.is_dir() else set()
    with pytest.raises(InvalidInputError, match=match):
        await dub(source, target)
    if target.parent.is_dir():
        assert set(target.parent.iterdir()) == before


async def test_bad_files_are_refused_and_leave_nothing_behind(tmp_path: Path):
    text = tmp_path / "notes.txt"
    text.write_text("no media")
    good = make(tmp_path / "good.mp4", seconds=1)
    silent = tmp_path / "mute.mp4"
    run_ffmpeg("-i", str(good), "-an", "-c", "copy", str(silent))
    cases: list[tuple[Path, Path, str]] = [
        (text, tmp_path / "out.mp4", "cannot be read"),
        (tmp_path / "missing.mp4", tmp_path / "out.mp4", "cannot be read"),
        (silent, tmp_path / "out.mp4", "no audio"),
        (good, good, "same file"),
        (good, tmp_path / "nowhere" / "out.mp4", "does not exist"),
        (good, tmp_path / "out.xyz", "OUT cannot be"),
    ]
    for source, target, match in cases:
        await refused(source, target, match)


async def test_a_codec_the_container_cannot_hold_is_explained(tmp_path: Path):
    source = make(tmp_path / "in.mp4", seconds=1)
    await refused(source, tmp_path / "out.webm", "mkv|cannot")


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TwoVoices:
    """Dubs into whatever is asked for: a tone per language."""

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        await asyncio.sleep(0)
        dubs = [dub_in(target.language, request) for target in request.config.targets]
        return result_of(request, *dubs)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
async def test_each_language_is_an_audio_track_of_its_own(tmp_path: Path, suffix: str):
    source, target = make(tmp_path / "in.mp4"), tmp_path / f"out{suffix}"
    settings = config(delay_ns=20_000_000_000, more_targets=(Target(language="fr"),))

    def make_session(clock: VirtualClock) -> DubbingSession:
        return DubbingSession(settings, TwoVoices(), clock, lambda _: None)

    await dub_media_file(source, target, settings, make_session, lambda *_: None)
    for track, (language, hz) in enumerate((("eng", TONES_HZ["en"]), ("fra", TONES_HZ["fr"]))):
        inside = audio_of(target, track)[int(4.6 * RATE) : int(5.1 * RATE)]
        assert level(inside, hz) == pytest.approx(0.3, abs=0.03)
        with av.open(str(target)) as container:
            assert container.streams.audio[track].metadata["language"] == language
    assert [data for data, _ in video_packets(target)] == [data for data, _ in video_packets(source)]


async def test_a_container_of_one_track_takes_one_language(tmp_path: Path):
    settings = config(delay_ns=20_000_000_000, more_targets=(Target(language="fr"),))
    source = make(tmp_path / "in.wav", video=False)

    def make_session(clock: VirtualClock) -> DubbingSession:
        return DubbingSession(settings, TwoVoices(), clock, lambda _: None)

    with pytest.raises(InvalidInputError, match="container"):
        await dub_media_file(source, tmp_path / "out.wav", settings, make_session, lambda *_: None)
    assert files_in(tmp_path) == ["in.wav"]


async def test_tags_in_an_old_encoding_are_no_obstacle(tmp_path: Path):
    source = make(tmp_path / "in.mp3", video=False)
    plain = source.read_bytes()
    # ID3v2.3, one TIT2 frame that says UTF-8 and holds Latin-1.
    text = b"\x03caf\xe9"
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\x00\x00" + text
    source.write_bytes(b"ID3\x03\x00\x00\x00\x00\x00" + bytes([len(frame)]) + frame + plain)
    await dub(source, tmp_path / "out.mkv")
    assert len(audio_of(tmp_path / "out.mkv")) > 7 * RATE
