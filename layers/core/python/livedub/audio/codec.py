"""Audio of the STS contract: float32 samples to and from base64 FLAC or 16-bit PCM."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its packets open.

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

from livedub.audio.pcm import Samples, float_from_s16, s16_from_float
from livedub.errors import InvalidInputError
from livedub.sts.contract import Audio, AudioFormat

_LAYOUTS = {1: "mono", 2: "stereo"}
_FULL_SCALE = {"s16": ("<i2", np.float32(1 << 15)), "s32": ("<i4", np.float32(1 << 31))}
_OVERRUN_MS = 1_000
"""Decoded past the declared duration before the rest is left alone: silence packs 1 : 180 into FLAC, so what a few
megabytes unpack to is bounded by nothing else."""


def encode_audio(samples: Samples, sample_rate_hz: int, audio_format: AudioFormat) -> Audio:
    """Wrap mono (n,) or stereo (n, 2) samples for the wire."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    pcm = s16_from_float(samples)
    data = pcm if audio_format is AudioFormat.PCM_S16LE else _encode_flac(pcm, sample_rate_hz, channels)
    return Audio(
        format=audio_format,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        duration_ms=max(1, round(len(samples) * 1000 / sample_rate_hz)),
        data_base64=base64.b64encode(data).decode("ascii"),
    )


def decode_audio(audio: Audio) -> Samples:
    """Samples as (n,) mono, downmixed where the wire carried stereo, at `audio.sample_rate_hz`.

    FLAC that runs on beyond its declared duration is decoded for one more second at most.

    Raises:
        InvalidInputError: the base64 or the encoded audio is broken, or its rate is not the declared one.
    """
    try:
        data = base64.b64decode(audio.data_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(
            f"audio.data_base64 is not base64: {error}.", remedy="Send RFC 4648 base64."
        ) from error
    if audio.format is AudioFormat.FLAC:
        most_samples = (audio.duration_ms + _OVERRUN_MS) * audio.sample_rate_hz // 1_000
        samples = _decode_flac(data, audio.sample_rate_hz, most_samples)
    else:
        if len(data) % (2 * audio.channels):
            raise InvalidInputError(
                f"audio.data_base64 holds {len(data)} bytes, not whole {audio.channels}-channel 16-bit samples.",
                remedy="Send complete pcm_s16le frames.",
            )
        samples = float_from_s16(data, audio.channels)
    return samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)


def _encode_flac(pcm: bytes, sample_rate_hz: int, channels: int) -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=sample_rate_hz, layout=_LAYOUTS[channels])
        interleaved = np.frombuffer(pcm, dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=_LAYOUTS[channels])
        frame.sample_rate = sample_rate_hz
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return sink.getvalue()


def _decode_flac(data: bytes, sample_rate_hz: int, most_samples: int) -> Samples:
    blocks: list[Samples] = []
    count = 0
    try:
        # Tags in another encoding than UTF-8 are nobody's concern here.
        with av.open(io.BytesIO(data), "r", format="flac", metadata_errors="replace") as container:
            stream = container.streams.audio[0]
            if not stream.rate:
                raise InvalidInputError(
                    "audio.data_base64 is not FLAC.", remedy="Send a FLAC file (RFC 9639)."
                )
            if stream.rate != sample_rate_hz:
                raise InvalidInputError(
                    f"audio.sample_rate_hz says {sample_rate_hz} but the FLAC holds {stream.rate}.",
                    remedy="Declare the rate of the encoded audio.",
                )
            for block in _mono_blocks(container, stream):
                blocks.append(block)
                count += len(block)
                if count > most_samples:
                    break
    except (FFmpegError, IndexError) as error:
        raise InvalidInputError(
            "audio.data_base64 is cut off, damaged or not FLAC.", remedy="Send a whole FLAC file (RFC 9639)."
        ) from error
    return np.concatenate(blocks).astype(np.float32) if blocks else np.zeros(0, dtype=np.float32)


def _mono_blocks(container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
    to_float = av.AudioResampler(format="flt")
    for frame in container.decode(stream):
        full_scale = _FULL_SCALE.get(frame.format.name)
        if full_scale is not None and frame.layout.nb_channels == 1:
            # What FLAC decodes to; a resampler costs three times as much for the same.
            plane = memoryview(cast("bytes", frame.planes[0]))
            yield np.frombuffer(plane, dtype=full_scale[0], count=frame.samples) / full_scale[1]
            continue
        for out in to_float.resample(frame):
            yield out.to_ndarray().reshape(-1, out.layout.nb_channels).mean(axis=1, dtype=np.float32)
