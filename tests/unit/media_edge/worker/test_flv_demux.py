import pytest

from media_edge.worker import flv
from media_edge.worker.flv_demux import FlvDemux
from media_edge.worker.units import AudioUnit, VideoUnit

AVCC = bytes.fromhex("0142c01effe1000a6742c01ed900a047fe88010005 68ce388000".replace(" ", ""))
ASC = bytes.fromhex("1190")


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def demux(problems: list[str]) -> FlvDemux:
    return FlvDemux(problems.append)


def test_units_carry_the_bytes_that_came_with_the_time_they_came_with(demux: FlvDemux):
    units = demux.read(
        flv.FILE_HEADER
        + flv.pack_metadata({"width": 1.0}, 0)
        + flv.pack_video_header(AVCC, 1)
        + flv.pack_audio_header(ASC, 1)
        + flv.pack_video(b"picture", keyframe=True, timestamp_ms=40, composition_ms=80)
        + flv.pack_audio(b"sound", 43)
    )
    video, audio = units
    assert isinstance(video, VideoUnit)
    assert isinstance(audio, AudioUnit)
    assert (video.dts_ns, video.pts_ns, video.keyframe, video.data) == (
        40_000_000,
        120_000_000,
        True,
        b"picture",
    )
    assert video.format.codec_data == AVCC
    assert (audio.pts_ns, audio.data, audio.format.codec_data) == (43_000_000, b"sound", ASC)


def test_time_goes_on_over_the_32_bit_wrap(demux: FlvDemux):
    demux.read(flv.pack_audio_header(ASC, 0))
    before, after = demux.read(flv.pack_audio(b"a", 2**32 - 10) + flv.pack_audio(b"b", 2**32 + 11))
    assert after.pts_ns - before.pts_ns == 21_000_000


def test_a_step_back_stays_a_step_back(demux: FlvDemux):
    demux.read(flv.pack_audio_header(ASC, 0))
    first, second = demux.read(flv.pack_audio(b"a", 5_000) + flv.pack_audio(b"b", 4_000))
    assert second.pts_ns - first.pts_ns == -1_000_000_000


def test_a_new_sequence_header_changes_the_format_and_a_repeated_one_does_not(demux: FlvDemux):
    picture = flv.pack_video(b"p", keyframe=True, timestamp_ms=0, composition_ms=0)
    first, second, third = demux.read(
        flv.pack_video_header(AVCC, 0)
        + picture
        + flv.pack_video_header(AVCC, 0)
        + picture
        + flv.pack_video_header(AVCC + b"\x00", 0)
        + picture
    )
    assert first.format is second.format
    assert third.format.codec_data == AVCC + b"\x00"


@pytest.mark.parametrize(
    ("tag_type", "body", "named"),
    [
        (flv.TagType.VIDEO, b"\x1c\x01\x00\x00\x00", "H.265"),
        (flv.TagType.VIDEO, b"\x91hvc1", "hvc1"),
        (flv.TagType.VIDEO, b"\x12\x00", "Sorenson"),
        (flv.TagType.AUDIO, b"\x2f\x00", "MP3"),
        (flv.TagType.AUDIO, b"\xb2\x00", "Speex"),
    ],
)
def test_another_codec_is_named_once(
    demux: FlvDemux, problems: list[str], tag_type: flv.TagType, body: bytes, named: str
):
    assert demux.read(flv.pack_tag(tag_type, 0, body) * 3) == []
    assert len(problems) == 1
    assert named in problems[0]


def test_media_before_its_header_is_dropped_and_told_once(demux: FlvDemux, problems: list[str]):
    assert demux.read(flv.pack_audio(b"a", 0) * 2) == []
    assert len(problems) == 1


@pytest.mark.parametrize("body", [b"\x17", b"\x17\x01", b"\xaf", b"\xaf\x01", b"\x17\x02\x00\x00\x00"])
def test_short_tags_and_ends_of_sequence_yield_nothing(demux: FlvDemux, body: bytes):
    tag_type = flv.TagType.VIDEO if body[0] == 0x17 else flv.TagType.AUDIO
    assert demux.read(flv.pack_tag(tag_type, 0, body)) == []
