import io
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_edge.worker import flv


def test_an_audio_tag_matches_the_specification_byte_for_byte():
    tag = flv.pack_audio(b"\x21\x10", 0x01020304)
    assert tag.hex(" ") == "08 00 00 04 02 03 04 01 00 00 00 af 01 21 10 00 00 00 0f"


def test_a_video_tag_matches_the_specification_byte_for_byte():
    tag = flv.pack_video(b"\xaa\xbb", keyframe=True, timestamp_ms=40, composition_ms=80)
    assert tag.hex(" ") == "09 00 00 07 00 00 28 00 00 00 00 17 01 00 00 50 aa bb 00 00 00 12"


def test_a_negative_composition_time_is_24_bit_twos_complement():
    tag = flv.pack_video(b"\xaa", keyframe=False, timestamp_ms=0, composition_ms=-2)
    assert tag[11:16].hex(" ") == "27 01 ff ff fe"


def test_sequence_headers_match_the_specification_byte_for_byte():
    assert flv.pack_video_header(b"\x01\x64", 0)[11:-4].hex(" ") == "17 00 00 00 00 01 64"
    assert flv.pack_audio_header(b"\x11\x90", 0)[11:-4].hex(" ") == "af 00 11 90"


def test_metadata_is_an_amf0_string_and_an_ecma_array():
    body = flv.pack_metadata({"width": 2.0, "stereo": True, "encoder": "x"}, 0)[11:-4]
    assert body.hex(" ") == (
        "02 00 0a 6f 6e 4d 65 74 61 44 61 74 61 08 00 00 00 03 "
        "00 05 77 69 64 74 68 00 40 00 00 00 00 00 00 00 "
        "00 06 73 74 65 72 65 6f 01 01 "
        "00 07 65 6e 63 6f 64 65 72 02 00 01 78 00 00 09"
    )


@given(
    stamp=st.integers(0, 2**40),
    body=st.binary(max_size=300),
    tag_type=st.sampled_from(list(flv.TagType)),
)
def test_what_is_packed_reads_back_modulo_32_bits(stamp: int, body: bytes, tag_type: flv.TagType):
    (tag,) = flv.read_tags(flv.pack_tag(tag_type, stamp, body))
    assert (tag.tag_type, tag.timestamp_ms, tag.body) == (tag_type, stamp % 2**32, body)


@given(st.binary(max_size=400))
def test_reading_never_fails_on_what_a_network_may_bring(data: bytes):
    assert all(len(tag.body) <= len(data) for tag in flv.read_tags(data))


@given(cut=st.integers(0, 32))
def test_a_tag_cut_short_is_left_out(cut: int):
    whole = flv.pack_audio(b"a" * 20, 1)
    data = flv.FILE_HEADER + whole + flv.pack_audio(b"b" * 20, 2)
    complete = len(flv.FILE_HEADER) + len(whole)
    tags = list(flv.read_tags(data[: complete + cut]))
    assert [tag.body[2:] for tag in tags] == [b"a" * 20]


@pytest.mark.parametrize(
    ("time_ns", "stamp_ms"), [(0, 0), (499_999, 0), (500_000, 1), (-500_000, 0), (-500_001, -1)]
)
def test_time_rounds_to_the_nearest_millisecond(time_ns: int, stamp_ms: int):
    assert flv.to_timestamp_ms(time_ns) == stamp_ms


def encoded_picture_stream() -> tuple[bytes, list[av.Packet]]:
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 64, 48, "yuv420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"bf": "2", "g": "10", "x264-params": "annexb=0", "flags": "+global_header"}
    packets = []
    for index in range(20):
        frame = av.VideoFrame.from_ndarray(np.full((72, 64), index * 10, np.uint8), format="yuv420p")
        frame.pts = index
        packets += codec.encode(frame)
    packets += codec.encode(None)
    assert codec.extradata is not None
    return codec.extradata, packets


def test_a_demuxer_reads_back_payloads_and_both_times():
    codec_data, packets = encoded_picture_stream()
    tags = [
        flv.FILE_HEADER,
        flv.pack_metadata({"width": 64.0}, 100_000),
        flv.pack_video_header(codec_data, 100_000),
    ]
    expected = []
    for packet in packets:
        assert packet.dts is not None
        assert packet.pts is not None
        dts_ms, pts_ms = 100_080 + packet.dts * 40, 100_080 + packet.pts * 40
        tags.append(
            flv.pack_video(
                bytes(packet),
                keyframe=packet.is_keyframe,
                timestamp_ms=dts_ms,
                composition_ms=pts_ms - dts_ms,
            )
        )
        expected.append((dts_ms, pts_ms, bytes(packet)))
    with av.open(io.BytesIO(b"".join(tags)), "r", format="flv") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.extradata, stream.width) == (codec_data, 64)
        read = [(p.dts, p.pts, bytes(p)) for p in container.demux(stream) if p.size]
    assert read == expected
    assert any(pts != dts for dts, pts, _ in expected)
