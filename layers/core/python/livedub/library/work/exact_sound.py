"""The sound of an exact cut: decoded, cut to the sample, encoded again."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its streams and packets open.

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from livedub.library.work.exact_span import ExactSpan
from livedub.library.work.media_output import MediaOutput
from livedub.library.work.media_source import known, start_us, zero_of
from livedub.library.work.sample_cut import Block, cut_samples
from livedub.library.work.step_progress import StepProgress

_LOSSLESS = ("alac", "flac", "pcm_")
_HELD = {
    ".flac": ("flac",),
    ".m4a": ("aac", "alac"),
    ".m4v": ("aac", "alac"),
    ".mkv": ("libopus", *_LOSSLESS),
    ".mov": ("aac", "alac", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"),
    ".mp3": ("libmp3lame",),
    ".mp4": ("aac", "alac", "flac"),
    ".ogg": ("libopus", "flac"),
    ".wav": ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_u8"),
    ".webm": ("libopus",),
}
"""What each container takes and cuts to the sample, the first for whatever else comes."""
_OPUS_RATE_HZ = 48_000
_AAC_PACKET = 1024
_LEAST_BIT_RATE = 192_000
_PRE_ROLL_US = 500_000
"""A decoder that starts in the middle needs a few packets before it is right."""
_BYTES_OF_16_BITS = 2


def encode_sound(
    container: InputContainer, index: int, output: MediaOutput, span: ExactSpan, progress: StepProgress
) -> Iterator[Any]:
    """The packets of the piece's sound, for the audio stream of that number."""
    stream = known(container.streams.audio)[index]
    context = stream.codec_context
    codec = encoder_for(context.name, output.suffix)
    rate_hz = _OPUS_RATE_HZ if codec == "libopus" else context.sample_rate
    encoder = output.add_encoder(codec, rate=rate_hz, options={}, layout=context.layout.name)
    _set_width(encoder.codec_context, context)
    if not codec.startswith(_LOSSLESS):
        encoder.bit_rate = max(context.bit_rate or 0, _LEAST_BIT_RATE)
    language = stream.metadata.get("language")
    if language:
        encoder.metadata["language"] = language
    return _packets(container, stream, encoder, rate_hz, span, progress)


def encoder_for(codec: str, suffix: str) -> str:
    """The encoder for sound that came in `codec`: the same where the container takes it."""
    held = _HELD[suffix]
    return codec if codec.startswith(held) else held[0]


def _packets(
    container: InputContainer,
    stream: Any,
    encoder: Any,
    rate_hz: int,
    span: ExactSpan,
    progress: StepProgress,
) -> Iterator[Any]:
    context = encoder.codec_context
    packed = context.format.name if context.format.is_packed else ""
    kind = context.format.planar.name
    resampler = av.AudioResampler(format=kind, layout=context.layout, rate=rate_hz)
    # Players leave out what an MP4 says to at its start, but not all do so at its end: whole packets end right.
    multiple = _AAC_PACKET if context.name == "aac" else 1
    blocks = _blocks(container, stream, resampler, span, progress)
    for position, samples in cut_samples(blocks, _sounding(stream, span), rate_hz, multiple):
        shaped = samples.T.reshape(1, -1) if packed else samples
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(shaped), format=packed or kind, layout=context.layout.name
        )
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, position, Fraction(1, rate_hz)
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _blocks(
    container: InputContainer,
    stream: Any,
    resampler: av.AudioResampler,
    span: ExactSpan,
    progress: StepProgress,
) -> Iterator[tuple[Fraction, Block]]:
    """The decoded sound around the span, with its times; nothing of the container has been read yet."""
    coarse = stream.time_base * stream.codec_context.sample_rate > 1
    # Where a timestamp does not tell a sample from its neighbours, samples are counted from the file's first on.
    # No seek back to the start either: after one, what a decoder leaves out at its start is not left out.
    first_us = span.seek_us - _PRE_ROLL_US
    if not coarse and first_us > start_us(container):
        container.seek(first_us, backward=True)
    zero = zero_of(container)
    for packet in container.demux(stream):
        progress.tick(0)
        try:
            frames = cast("list[av.AudioFrame]", packet.decode())
        except FFmpegError:
            continue  # a damaged packet leaves a hole
        for frame in frames:
            for converted in resampler.resample(frame):
                if converted.pts is None or converted.time_base is None:
                    continue
                time = converted.pts * converted.time_base
                if time + Fraction(converted.samples, converted.sample_rate) <= zero + stream.time_base:
                    continue  # warms the decoder up; some versions of FFmpeg leave it out themselves
                near = abs(time - zero) <= stream.time_base
                yield zero if near else time, converted.to_ndarray()


def _sounding(stream: Any, span: ExactSpan) -> ExactSpan:
    """The span, no longer than the sound."""
    if stream.duration is None or stream.start_time is None:
        return span
    end = (stream.start_time + stream.duration) * stream.time_base
    return ExactSpan(span.start, min(span.end, end)) if end > span.start else span


def _set_width(context: Any, source: Any) -> None:
    """Let a lossless encoder keep what the source's samples hold."""
    if context.name in {"flac", "alac"} and source.format.bytes > _BYTES_OF_16_BITS:
        context.format = "s32p" if context.name == "alac" else "s32"
