"""Raw AAC frames to programme PCM: float32, 48 kHz, stereo."""

from __future__ import annotations

import numpy as np

from livedub.audio.pcm import PROGRAMME_CHANNELS, PROGRAMME_RATE_HZ
from livedub.timeline.clock import NS_PER_S
from media_edge.worker.audio_input import DecodedAudio
from media_edge.worker.gst.pipeline import Pipeline, buffer_bytes, timed_buffer
from media_edge.worker.gst.typelibs import Gst, GstAudio
from media_edge.worker.units import AudioFormat, AudioUnit

_PTS_BIAS_NS = 3_600 * NS_PER_S
"""GStreamer's time is unsigned; media time may start a little below zero."""
_DISCONTINUITY_NS = 60_000_000


class AacDecoder:
    """Decodes one AAC track; a new format needs a new decoder.

    Frames keep the PTS they came with. Where the rate differs from 48 kHz the resampler's look-ahead is taken into
    account, so that a sample keeps its time.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._pipeline = Pipeline(
            "appsrc name=aac format=time max-bytes=0 max-buffers=512 "
            "! avdec_aac ! audioconvert "
            f"! audio/x-raw,format=F32LE,layout=interleaved,channels={PROGRAMME_CHANNELS} "
            "! appsink name=pcm sync=false async=false max-buffers=512"
        )
        self._frames = self._pipeline.list_source("aac")
        self._sink = self._pipeline.sink("pcm")
        caps = Gst.Caps.from_string("audio/mpeg,mpegversion=4,stream-format=raw,framed=true")
        codec_data = Gst.Buffer.new_wrapped(audio_format.codec_data)
        caps.set_value("codec_data", codec_data)
        self._pipeline.source("aac").set_caps(caps)
        self._pending: list[Gst.Buffer] = []
        self._chunk_bytes = 0
        self._rate_hz = PROGRAMME_RATE_HZ
        self._resampler: _Resampler | None = None
        self._pipeline.play()

    def push(self, unit: AudioUnit) -> None:
        """Take one frame; it is decoded from the next `pull` on."""
        self._pending.append(timed_buffer(unit.data, unit.pts_ns + _PTS_BIAS_NS))

    def pull(self) -> list[DecodedAudio]:
        """What is decoded by now; frames pushed since the last call go to the decoder in one go.

        A thread is woken once for all of them, not once for each.
        """
        if self._pending:
            self._frames.push(self._pending)
            self._pending.clear()
        decoded: list[DecodedAudio] = []
        while (sample := self._sink.try_pull_sample(0)) is not None:
            buffer = sample.get_buffer()
            data = buffer_bytes(buffer)
            if len(data) != self._chunk_bytes:
                # The rate of one track changes only where SBR turns out to be there, and doubles the frame with it.
                self._chunk_bytes = len(data)
                self._rate_hz = _rate_hz(sample)
            samples = np.frombuffer(data, dtype=np.float32).reshape(-1, PROGRAMME_CHANNELS)
            chunk = DecodedAudio(buffer.pts - _PTS_BIAS_NS, samples)
            decoded.append(
                chunk if self._rate_hz == PROGRAMME_RATE_HZ else self._resampled(chunk, self._rate_hz)
            )
        return decoded

    def _resampled(self, chunk: DecodedAudio, rate_hz: int) -> DecodedAudio:
        if self._resampler is None or not self._resampler.continues(chunk, rate_hz):
            self._resampler = _Resampler(rate_hz)
        return self._resampler.convert(chunk)

    def failure(self) -> str | None:
        """Why the decoder stopped, if it did."""
        return next((event.text for event in self._pipeline.events() if event.kind == "error"), None)

    def close(self) -> None:
        """Free the pipeline."""
        self._pipeline.stop()


class _Resampler:
    """A streaming resampler that knows how far its output lags behind what it was given."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._converter = GstAudio.AudioConverter.new(
            GstAudio.AudioConverterFlags.NONE, _audio_info(rate_hz), _audio_info(PROGRAMME_RATE_HZ), None
        )
        self._taken = 0
        self._given = 0
        self._next_pts_ns: int | None = None

    def continues(self, chunk: DecodedAudio, rate_hz: int) -> bool:
        """Whether `chunk` follows the last one without a jump in time or rate."""
        if rate_hz != self._rate_hz or self._next_pts_ns is None:
            return rate_hz == self._rate_hz
        return abs(chunk.pts_ns - self._next_pts_ns) <= _DISCONTINUITY_NS

    def convert(self, chunk: DecodedAudio) -> DecodedAudio:
        """The samples that are certain by now, with the PTS of the first one."""
        held_ns = self._taken * NS_PER_S // self._rate_hz - self._given * NS_PER_S // PROGRAMME_RATE_HZ
        _, data = self._converter.convert(GstAudio.AudioConverterFlags.NONE, chunk.samples.tobytes())
        samples = np.frombuffer(data, dtype=np.float32).reshape(-1, PROGRAMME_CHANNELS)
        self._taken += len(chunk.samples)
        self._given += len(samples)
        self._next_pts_ns = chunk.pts_ns + len(chunk.samples) * NS_PER_S // self._rate_hz
        return DecodedAudio(chunk.pts_ns - held_ns, samples)


def _audio_info(rate_hz: int) -> GstAudio.AudioInfo:
    caps = f"audio/x-raw,format=F32LE,layout=interleaved,rate={rate_hz},channels={PROGRAMME_CHANNELS}"
    return GstAudio.AudioInfo.new_from_caps(Gst.Caps.from_string(caps))


def _rate_hz(sample: Gst.Sample) -> int:
    return sample.get_caps().get_structure(0).get_value("rate")
