from fractions import Fraction

import av
import numpy as np
import pytest

from media_edge.worker.h264 import video_format


def codec_data(width: int, height: int, **options: str) -> bytes:
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"flags": "+global_header", "x264-params": "annexb=0", **options}
    codec.encode(av.VideoFrame.from_ndarray(np.zeros((height * 3 // 2, width), np.uint8), format="yuv420p"))
    assert codec.extradata is not None
    return codec.extradata


@pytest.mark.parametrize(
    ("width", "height", "options"),
    [
        (1280, 720, {}),
        (640, 360, {"profile": "baseline"}),
        (1920, 1080, {"profile": "high"}),
        (322, 182, {"profile": "main"}),
        (640, 480, {"x264-params": "annexb=0:tff=1"}),
    ],
)
def test_the_picture_size_is_read_from_the_sps(width: int, height: int, options: dict[str, str]):
    read = video_format(codec_data(width, height, **options))
    assert (read.width, read.height) == (width, height)
    assert str(read) == f"H.264 {width}x{height}"


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x00" * 20, b"\x01\x64\x00\x1e\xff\xe1\x00\x04\x67", b"\x01" * 30]
)
def test_a_record_that_cannot_be_read_has_no_size(data: bytes):
    read = video_format(data)
    assert (read.width, read.height, read.codec_data) == (0, 0, data)
    assert str(read) == "H.264"
