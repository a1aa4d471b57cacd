"""PCM to raw AAC frames (libavcodec's encoder in GStreamer)."""

from __future__ import annotations

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ, Samples
from livedub.errors import LivedubError
from media_edge.worker.gst.pipeline import Pipeline, buffer_bytes
from media_edge.worker.gst.typelibs import Gst
from media_edge.worker.units import AAC_FRAME_SAMPLES

ENCODER_PRIMING_SAMPLES = 1024
"""Samples of silence the encoder puts before the first one it is given (measured; a test keeps watch)."""

_FAST_FROM_BPS = 64_000
"""From here on libavcodec's documentation calls its fast coder the better one; it takes half the time."""


class AacEncoder:
    """A continuous AAC track that starts at `start_position` (48 kHz samples on the media timeline).

    Frames come out in order; the first holds the encoder's priming and so lies before `start_position`.
    """

    def __init__(self, start_position: int, bitrate_bps: int) -> None:
        self._next_position = start_position - ENCODER_PRIMING_SAMPLES
        self._codec_data = b""
        coder = "fast" if bitrate_bps >= _FAST_FROM_BPS else "twoloop"
        self._pipeline = Pipeline(
            "appsrc name=pcm format=time max-bytes=0 max-buffers=64 "
            f"caps=audio/x-raw,format=F32LE,rate={PROGRAMME_RATE_HZ},channels={PROGRAMME_CHANNELS},"
            "layout=interleaved "
            f"! audioconvert ! avenc_aac bitrate={bitrate_bps} aac-coder={coder} "
            "! appsink name=aac sync=false async=false max-buffers=1024"
        )
        self._source = self._pipeline.source("pcm")
        self._sink = self._pipeline.sink("aac")
        self._pushed_samples = 0
        self._pipeline.play()

    @property
    def codec_data(self) -> bytes:
        """The AudioSpecificConfig; empty until the first frame is out."""
        return self._codec_data

    @property
    def next_position(self) -> int:
        """Position of the first sample of the frame that `pull` returns next."""
        return self._next_position

    def push(self, samples: Samples) -> None:
        """Append (n, 2) samples."""
        buffer = Gst.Buffer.new_wrapped(samples.tobytes())
        buffer.pts = self._pushed_samples * Gst.SECOND // PROGRAMME_RATE_HZ
        self._pushed_samples += len(samples)
        buffer.duration = self._pushed_samples * Gst.SECOND // PROGRAMME_RATE_HZ - buffer.pts
        self._source.push_buffer(buffer)

    def pull(self) -> list[tuple[int, bytes]]:
        """The frames ready now, each with the position of its first sample.

        Raises:
            LivedubError: the encoder failed; its track cannot go on.
        """
        frames: list[tuple[int, bytes]] = []
        while (sample := self._sink.try_pull_sample(0)) is not None:
            if not self._codec_data:
                self._codec_data = _codec_data(sample)
            frames.append((self._next_position, buffer_bytes(sample.get_buffer())))
            self._next_position += AAC_FRAME_SAMPLES
        for event in self._pipeline.events():
            if event.kind == "error":
                raise LivedubError(f"The AAC encoder failed: {event.text}.", remedy="Restart the worker.")
        return frames

    def finish(self) -> None:
        """Flush what the encoder holds; `pull` then returns the last frames."""
        self._source.end_of_stream()

    def close(self) -> None:
        """Free the pipeline."""
        self._pipeline.stop()


def _codec_data(sample: Gst.Sample) -> bytes:
    buffer = sample.get_caps().get_structure(0).get_value("codec_data")
    return buffer_bytes(buffer)
