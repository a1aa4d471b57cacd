import io
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from local import flv


@given(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=400))
def test_a_tag_carries_its_timestamp_and_length(timestamp_ms: int, body: bytes):
    file = io.BytesIO()
    flv.write_tag(file, flv.VIDEO_TAG, timestamp_ms, body)
    tag = file.getvalue()
    assert tag[0] == flv.VIDEO_TAG
    assert int.from_bytes(tag[1:4], "big") == len(body)
    assert int.from_bytes(tag[7:8] + tag[4:7], "big") == timestamp_ms
    assert tag[11:-4] == body
    assert int.from_bytes(tag[-4:], "big") == 11 + len(body)


def test_a_picture_shown_after_it_is_decoded_has_the_later_pts():
    packet = flv.media_packet(
        flv.VIDEO_TAG, 1000, b"\x27\x01" + (66).to_bytes(3, "big", signed=True) + b"nal"
    )
    assert packet == flv.MediaPacket("video", 1_066_000_000, 1_000_000_000, b"nal")


def test_a_negative_composition_time_is_read_as_such():
    packet = flv.media_packet(flv.VIDEO_TAG, 1000, b"\x27\x01" + (-33).to_bytes(3, "big", signed=True) + b"n")
    assert packet is not None
    assert packet.pts_ns == 967_000_000


def test_sequence_headers_and_metadata_are_no_media():
    assert flv.media_packet(flv.VIDEO_TAG, 0, b"\x17\x00\x00\x00\x00avcC") is None
    assert flv.media_packet(flv.AUDIO_TAG, 0, b"\xaf\x00\x11\x90") is None
    assert flv.media_packet(flv.SCRIPT_TAG, 0, b"\x02\x00\x0aonMetaData") is None


@pytest.mark.parametrize(
    ("tag_type", "body"),
    [
        (flv.VIDEO_TAG, b"\x90hvc1...."),
        (flv.VIDEO_TAG, b"\x12\x00\x00\x00\x00"),
        (flv.AUDIO_TAG, b"\x2f\x00.."),
    ],
)
def test_another_codec_is_named_with_its_remedy(tag_type: int, body: bytes):
    with pytest.raises(InvalidInputError, match=r"Publish (H.264 video|AAC audio)"):
        flv.media_packet(tag_type, 0, body)


def test_a_demuxer_reads_the_file_with_its_absolute_timestamps(tmp_path: Path):
    path = tmp_path / "a.flv"
    base_ms = 5 * 3600 * 1000  # past 0xFFFFFF ms, where the extended byte begins
    with path.open("wb") as file:
        flv.write_header(file)
        flv.write_tag(file, flv.AUDIO_TAG, base_ms, b"\xaf\x00\x11\x90")
        for index in range(20):
            flv.write_tag(
                file, flv.AUDIO_TAG, base_ms + 21 * index, b"\xaf\x01" + bytes([0x21, index, 4, 0x60])
            )
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(audio=0) if packet.pts is not None]
    assert stamps == [base_ms + 21 * index for index in range(20)]
