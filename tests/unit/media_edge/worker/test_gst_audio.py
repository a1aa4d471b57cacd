"""The AAC encoder and decoder of GStreamer, measured: what time a sample has after them."""

import time
from collections.abc import Iterator

import av
import numpy as np
import pytest

from media_edge.worker.audio_input import DecodedAudio
from media_edge.worker.gst.aac_decoder import AacDecoder
from media_edge.worker.gst.aac_encoder import AAC_FRAME_SAMPLES, AacEncoder
from media_edge.worker.units import AudioFormat, AudioUnit

BOUND_S = 10.0


def onset(samples: np.ndarray, level: float = 0.1) -> int:
    return int(np.flatnonzero(np.abs(samples) > level)[0])


def pulled(encoder: AacEncoder, frames: int) -> list[tuple[int, bytes]]:
    got: list[tuple[int, bytes]] = []
    end = time.monotonic() + BOUND_S
    while len(got) < frames and time.monotonic() < end:
        got += encoder.pull()
        time.sleep(0.002)
    assert len(got) >= frames
    return got


@pytest.fixture
def encoder() -> Iterator[AacEncoder]:
    encoder = AacEncoder(start_position=480_000, bitrate_bps=128_000)
    yield encoder
    encoder.close()


def test_a_tone_comes_back_at_the_sample_it_went_in(encoder: AacEncoder):
    tone = np.zeros((48_000, 2), np.float32)
    tone[20_000:] = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(28_000) / 48_000)[:, None]
    for start in range(0, 48_000, 4_800):
        encoder.push(tone[start : start + 4_800])
    frames = pulled(encoder, 44)

    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = encoder.codec_data
    heard = np.zeros(60_000, np.float32)
    for position, data in frames:
        for frame in decoder.decode(av.Packet(data)):
            at = position - 480_000 + AAC_FRAME_SAMPLES
            heard[at : at + frame.samples] = frame.to_ndarray()[0]
    lags = np.correlate(heard[AAC_FRAME_SAMPLES:46_000], tone[19_000:22_000, 0], "valid")
    assert int(np.argmax(lags)) == 19_000


def test_frames_adjoin_and_the_first_one_is_priming(encoder: AacEncoder):
    encoder.push(np.zeros((48_000, 2), np.float32))
    positions = [position for position, _ in pulled(encoder, 40)]
    assert positions == list(range(480_000 - 1_024, 480_000 - 1_024 + 1_024 * len(positions), 1_024))
    assert encoder.next_position == positions[-1] + 1_024
    assert encoder.codec_data[:2] == bytes.fromhex("1190")


def source_frames(
    rate_hz: int, layout: str, onset_sample: int, frames: int = 40
) -> tuple[bytes, list[tuple[int, bytes]]]:
    codec = av.CodecContext.create("aac", "w")
    codec.sample_rate, codec.layout, codec.format, codec.bit_rate = rate_hz, layout, "fltp", 128_000
    codec.open()
    index = np.arange(frames * 1_024)
    wave = np.where(index >= onset_sample, 0.5 * np.sin(2 * np.pi * 1_000 * index / rate_hz), 0).astype(
        np.float32
    )
    packets: list[tuple[int, bytes]] = []
    for start in range(0, len(wave), 1_024):
        planes = np.stack([wave[start : start + 1_024]] * (2 if layout == "stereo" else 1))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, start
        packets += [(p.pts or 0, bytes(p)) for p in codec.encode(frame)]
    assert codec.extradata is not None
    return codec.extradata, packets


def decoded(decoder: AacDecoder, count: int) -> list[DecodedAudio]:
    got: list[DecodedAudio] = []
    end = time.monotonic() + BOUND_S
    while len(got) < count and time.monotonic() < end:
        got += decoder.pull()
        time.sleep(0.002)
    assert len(got) == count
    return got


@pytest.mark.parametrize(
    ("rate_hz", "layout"),
    [(48_000, "stereo"), (48_000, "mono"), (44_100, "mono"), (44_100, "stereo"), (22_050, "mono")],
)
def test_decoding_keeps_each_samples_time_at_any_rate_and_layout(rate_hz: int, layout: str):
    codec_data, packets = source_frames(rate_hz, layout, onset_sample=10_000)
    audio_format = AudioFormat(codec_data)
    decoder = AacDecoder(audio_format)
    try:
        for position, data in packets:
            decoder.push(AudioUnit(round(position * 1_000 / rate_hz) * 1_000_000, data, audio_format))
        chunks = decoded(decoder, len(packets))
    finally:
        decoder.close()
    loud = next(chunk for chunk in chunks if np.abs(chunk.samples).max() > 0.1)
    heard_ms = loud.pts_ns / 1e6 + onset(loud.samples[:, 0]) / 48
    assert heard_ms == pytest.approx(10_000 * 1_000 / rate_hz, abs=0.7)
    assert np.array_equal(loud.samples[:, 0], loud.samples[:, 1])
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(
        len(packets) * 1_024 * 48_000 / rate_hz, abs=64
    )


def test_a_jump_in_time_does_not_carry_the_resamplers_past_along():
    codec_data, packets = source_frames(44_100, "mono", onset_sample=0)
    audio_format = AudioFormat(codec_data)
    decoder = AacDecoder(audio_format)
    try:
        for index, (_, data) in enumerate(packets):
            at_ns = index * 1_024 * 1_000_000_000 // 44_100 + (10_000_000_000 if index >= 20 else 0)
            decoder.push(AudioUnit(at_ns, data, audio_format))
        chunks = decoded(decoder, len(packets))
    finally:
        decoder.close()
    assert chunks[20].pts_ns == pytest.approx(20 * 1_024 * 1_000_000_000 // 44_100 + 10_000_000_000, abs=2)


def test_a_broken_frame_costs_itself_alone():
    codec_data, packets = source_frames(48_000, "stereo", onset_sample=0)
    audio_format = AudioFormat(codec_data)
    decoder = AacDecoder(audio_format)
    try:
        for index, (_, data) in enumerate(packets[:20]):
            payload = b"\xff" * 7 if index == 10 else data
            decoder.push(AudioUnit(index * 21_333_333, payload, audio_format))
        end = time.monotonic() + BOUND_S
        got: list[DecodedAudio] = []
        while (not got or got[-1].pts_ns < 19 * 21_333_333) and time.monotonic() < end:
            got += decoder.pull()
            time.sleep(0.002)
        assert got[-1].pts_ns == 19 * 21_333_333
        assert decoder.failure() is None
    finally:
        decoder.close()
