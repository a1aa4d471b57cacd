"""Short audio files: any that PyAV reads in, WAV out."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its frames open.

from __future__ import annotations

import itertools
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from livedub.audio.pcm import Samples, s16_from_float, to_mono
from livedub.errors import InvalidInputError


def read_clip(path: Path, sample_rate_hz: int, *, longest_s: float) -> Samples:
    """The first audio track of `path` as mono (n,) samples at `sample_rate_hz`.

    Raises:
        InvalidInputError: the file cannot be read, has no sound, or lasts longer than `longest_s`.
    """
    blocks: list[Samples] = []
    samples = 0
    try:
        with av.open(str(path), "r") as container:
            for block in _mono_blocks(container, sample_rate_hz):
                blocks.append(block)
                samples += len(block)
                if samples > longest_s * sample_rate_hz:
                    raise InvalidInputError(
                        f"{path} is longer than {longest_s:g} s.",
                        remedy=f"Cut it first, for example: ffmpeg -i {path.name} -t {longest_s:g} clip.wav",
                    )
    except (FFmpegError, OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.", remedy="Give a media file.") from error
    if samples == 0:
        raise InvalidInputError(f"{path} has no sound in it.", remedy="Give a file with speech in it.")
    return np.concatenate(blocks)


def write_wav(path: Path, samples: Samples, sample_rate_hz: int) -> None:
    """Write mono (n,) or interleavable (n, channels) samples as 16-bit WAV.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    try:
        with path.open("wb") as file, wave.open(file, "wb") as sink:
            sink.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            sink.setsampwidth(2)
            sink.setframerate(sample_rate_hz)
            sink.writeframes(s16_from_float(samples))
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error}.", remedy="Give a file in a folder that exists."
        ) from error


def _mono_blocks(container: InputContainer, sample_rate_hz: int) -> Iterator[Samples]:
    if not container.streams.audio:
        return
    resampler = av.AudioResampler(format="flt", rate=sample_rate_hz)
    for frame in itertools.chain(container.decode(container.streams.audio[0]), (None,)):
        for out in resampler.resample(frame):
            yield to_mono(out.to_ndarray().reshape(-1, out.layout.nb_channels).astype(np.float32, copy=False))
