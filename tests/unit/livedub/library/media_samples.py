"""Small media files of every format of the library, encoded on the spot."""

from __future__ import annotations

import functools
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE_HZ = 48_000
PICTURES = 10
"""At 10 a second: one second."""

_VIDEO = {".mp4": "mpeg4", ".mov": "mpeg4", ".m4v": "mpeg4", ".mkv": "mpeg4", ".avi": "mpeg4"} | {
    ".webm": "libvpx",
    ".flv": "flv",
    ".wmv": "wmv2",
}
_AUDIO = dict.fromkeys((".mp4", ".mov", ".m4v", ".m4a", ".aac", ".mkv", ".flv"), "aac") | {
    ".webm": "libopus",
    ".avi": "libmp3lame",
    ".wmv": "wmav2",
    ".mp3": "libmp3lame",
    ".wav": "pcm_s16le",
    ".flac": "flac",
    ".ogg": "libopus",
}
_FORMATS = {".m4v": "mp4", ".m4a": "ipod", ".aac": "adts", ".wmv": "asf", ".mkv": "matroska"}


@functools.cache
def sample(extension: str, *, options: tuple[tuple[str, str], ...] = (), container: str = "") -> bytes:
    """One second of a grey picture and a quiet tone, or of the tone alone where the format has no pictures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample"
        name = container or _FORMATS.get(extension, extension[1:])
        with av.open(str(path), "w", format=name, options=dict(options)) as sink:
            video: Any = sink.add_stream(_VIDEO[extension], rate=PICTURES) if extension in _VIDEO else None
            audio: Any = sink.add_stream(_AUDIO[extension], rate=RATE_HZ)
            audio.layout, audio.bit_rate = "mono", 128_000
            if video is not None:
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
                for number in range(PICTURES):
                    picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 20, np.uint8), "rgb24")
                    picture.pts, picture.time_base = number, Fraction(1, PICTURES)
                    sink.mux(video.encode(picture))
                sink.mux(video.encode(None))
            tone = (np.sin(np.arange(RATE_HZ) * 0.06) * 3_000).astype(np.int16)
            for start in range(0, RATE_HZ, 1_000):
                sound = av.AudioFrame.from_ndarray(tone[None, start : start + 1_000], "s16", "mono")
                sound.sample_rate, sound.pts, sound.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
                sink.mux(audio.encode(sound))
            sink.mux(audio.encode(None))
        return path.read_bytes()
