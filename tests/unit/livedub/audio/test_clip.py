from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from livedub.audio.clip import read_clip, write_wav
from livedub.errors import InvalidInputError


def tone(seconds: float, rate_hz: int, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    mono = (0.4 * np.sin(2 * np.pi * 500 * t)).astype(np.float32)
    return mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (44_100, 2), (48_000, 2)])
def test_a_written_wav_comes_back_as_mono_at_the_wanted_rate(tmp_path: Path, rate_hz: int, channels: int):
    path = tmp_path / "clip.wav"
    write_wav(path, tone(1.0, rate_hz, channels), rate_hz)
    with wave.open(str(path)) as source:
        assert (source.getframerate(), source.getnchannels(), source.getnframes()) == (
            rate_hz,
            channels,
            rate_hz,
        )
    samples = read_clip(path, 16_000, longest_s=30)
    assert samples.ndim == 1
    assert abs(len(samples) - 16_000) <= 16
    assert np.sqrt(np.mean(samples[800:-800] ** 2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.02)


def test_the_end_of_a_compressed_track_is_not_lost(tmp_path: Path):
    path = tmp_path / "clip.ogg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            tone(2.0, 48_000, 2).reshape(1, -1).astype(np.float32), format="flt", layout="stereo"
        )
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    assert len(read_clip(path, 16_000, longest_s=30)) == pytest.approx(32_000, abs=400)


def test_too_long_a_clip_is_refused_with_the_command_that_cuts_it(tmp_path: Path):
    path = tmp_path / "long.wav"
    write_wav(path, tone(2.0, 8_000), 8_000)
    with pytest.raises(InvalidInputError, match=r"longer than 1 s.*ffmpeg -i long\.wav -t 1"):
        read_clip(path, 16_000, longest_s=1)


@pytest.mark.parametrize("content", [b"", b"not media at all" * 100])
def test_what_is_no_media_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"clip\.wav"):
        read_clip(path, 16_000, longest_s=30)


def test_a_missing_file_and_a_silent_container_are_refused(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_clip(tmp_path / "none.wav", 16_000, longest_s=30)
    write_wav(tmp_path / "empty.wav", np.zeros(0, dtype=np.float32), 16_000)
    with pytest.raises(InvalidInputError, match="no sound"):
        read_clip(tmp_path / "empty.wav", 16_000, longest_s=30)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="nowhere"):
        write_wav(tmp_path / "nowhere" / "clip.wav", tone(0.1, 8_000), 8_000)
