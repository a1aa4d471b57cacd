"""What a file is, by its content; and what is wrong with it."""

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.media_types import AUDIO_EXTENSIONS, MEDIA_EXTENSIONS
from livedub.library.probe import probe, probe_file
from livedub.library.range_file import RangeFile
from livedub.library.types import MediaInfo, StreamKind

from .media_samples import sample

TELLS_ITS_LENGTH = sorted(MEDIA_EXTENSIONS - {".aac", ".ogg"})


def probed(data: bytes, name: str) -> MediaInfo:
    return probe(RangeFile(lambda start, end: data[start:end], len(data)), len(data), name)


def refusal(data: bytes, name: str = "clip.mp4") -> LibraryError:
    with pytest.raises(LibraryError) as refused:
        probed(data, name)
    assert name in refused.value.message
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize("extension", sorted(MEDIA_EXTENSIONS))
def test_every_kind_of_file_is_read(extension: str):
    info = probed(sample(extension), f"clip{extension.upper()}")
    assert info.duration_ms is not None
    assert abs(info.duration_ms - 1_000) <= 150
    audio = [stream for stream in info.streams if stream.kind is StreamKind.AUDIO]
    video = [stream for stream in info.streams if stream.kind is StreamKind.VIDEO]
    assert [(stream.sample_rate_hz, stream.channels) for stream in audio] == [(48_000, 1)]
    assert all(stream.codec for stream in info.streams)
    if extension in AUDIO_EXTENSIONS:
        assert video == []
    else:
        assert [(stream.width, stream.height, stream.frame_rate) for stream in video] == [(64, 48, "10/1")]


def test_a_file_on_disk_is_read_likewise(tmp_path: Path):
    path = tmp_path / "anything.bin"
    path.write_bytes(sample(".mkv"))
    assert probe_file(path, "clip.mkv") == probed(sample(".mkv"), "clip.mkv")
    with pytest.raises(LibraryError) as refused:
        probe_file(path)
    assert refused.value.code is LibraryErrorCode.WRONG_EXTENSION


def test_subtitles_are_told_from_media():
    subtitles = b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n"
    info = probed(subtitles, "live/show/3/es.vtt")
    assert info.container == "webvtt"
    assert [stream.kind for stream in info.streams] == [StreamKind.SUBTITLE]
    assert refusal(subtitles, "clip.mp4").code is LibraryErrorCode.WRONG_EXTENSION


def test_nothing_is_no_media():
    assert refusal(b"").code is LibraryErrorCode.EMPTY_FILE


@pytest.mark.parametrize(
    "data",
    [
        b"Call me Ishmael. " * 500,
        b"\0" * 10_000,
        random.Random(1).randbytes(50_000),
        b"\x89PNG\r\n\x1a\n" + b"\0" * 500,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"PK\x03\x04" + b"\0" * 500,
        b"x",
    ],
    ids=["text", "zeros", "noise", "picture", "playlist", "concat", "archive", "one-byte"],
)
def test_what_is_no_media_is_told(data: bytes):
    assert refusal(data).code is LibraryErrorCode.NOT_MEDIA


@pytest.mark.parametrize("extension", TELLS_ITS_LENGTH)
@pytest.mark.parametrize("kept_percent", [30, 60, 80])
def test_a_file_that_broke_off_on_its_way_is_told(extension: str, kept_percent: int):
    data = sample(extension)
    error = refusal(data[: len(data) * kept_percent // 100], f"clip{extension}")
    assert error.code is LibraryErrorCode.TRUNCATED


def test_an_mp4_with_its_index_in_front_is_told_too():
    data = sample(".mp4", options=(("movflags", "faststart"),))
    assert data.index(b"moov") < data.index(b"mdat")
    assert probed(data, "clip.mp4").duration_ms == 1_000
    assert refusal(data[:-1]).code is LibraryErrorCode.TRUNCATED


def test_a_recording_in_fragments_is_good_up_to_the_last_whole_one():
    data = sample(".mp4", options=(("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "200000")))
    assert data.count(b"moof") > 1
    broken_off = data[: data.rindex(b"mdat") + 40]
    assert len(probed(broken_off, "clip.mp4").streams) == 2


def test_a_live_matroska_of_unknown_length_is_whole():
    data = sample(".mkv", options=(("live", "1"),))
    assert probed(data, "clip.mkv").container == "matroska,webm"


def test_a_wave_file_from_a_pipe_is_whole():
    data = bytearray(sample(".wav"))
    data[4:8] = struct.pack("<I", 0xFFFFFFFF)
    assert probed(bytes(data), "clip.wav").duration_ms == 1_000


def test_an_id3_tag_does_not_hide_where_the_sound_begins():
    tag = b"ID3\x04\x00\x00" + bytes((0, 0, 7, 0x68)) + b"\0" * (7 * 128 + 0x68)
    data = tag + sample(".mp3")
    assert probed(data, "clip.mp3").duration_ms is not None
    assert refusal(data[: len(data) // 2], "clip.mp3").code is LibraryErrorCode.TRUNCATED


def test_garbage_behind_a_file_does_no_harm():
    assert probed(sample(".mp4") + b"\0" * 4, "clip.mp4").duration_ms == 1_000


@pytest.mark.parametrize(
    ("content", "name"), [(".mkv", "clip.mp4"), (".mp4", "clip.avi"), (".mp3", "clip.wav"), (".wav", "clip")]
)
def test_a_name_that_says_something_else_is_told(content: str, name: str):
    error = refusal(sample(content), name)
    assert error.code is LibraryErrorCode.WRONG_EXTENSION
    assert content in error.remedy


def test_names_of_one_family_are_as_good_as_each_other():
    assert probed(sample(".mp4"), "clip.mov") == probed(sample(".mp4"), "CLIP.M4V")
    assert probed(sample(".webm"), "clip.mkv").container == "matroska,webm"


def test_media_of_another_kind_is_told():
    data = sample(".mov", container="mpegts")
    assert refusal(data).code is LibraryErrorCode.UNSUPPORTED_TYPE


def test_what_goes_wrong_in_reading_is_not_the_files_fault():
    down = LibraryError(LibraryErrorCode.ENDPOINT_DOWN, "It went away.")

    def fetch(_start: int, _end: int) -> bytes:
        raise down

    with pytest.raises(LibraryError) as raised:
        probe(RangeFile(fetch, 1_000), 1_000, "clip.mp4")
    assert raised.value is down


def test_a_long_file_is_not_read_to_its_end():
    data = sample(".mp4", options=(("movflags", "faststart"),))
    # A film of 100 MB, of which all but the index lies behind 32 bits of zeros.
    size = 100_000_000
    mdat = data.index(b"mdat") - 4
    head = data[:mdat] + struct.pack(">I", size - mdat) + data[mdat + 4 :]
    fetched: list[int] = []

    def fetch(start: int, end: int) -> bytes:
        fetched.append(end - start)
        return head[start:end].ljust(end - start, b"\0")

    assert probe(RangeFile(fetch, size), size, "clip.mp4").duration_ms == 1_000
    assert sum(fetched) < 8_000_000


@pytest.mark.parametrize("extension", sorted(MEDIA_EXTENSIONS))
def test_broken_headers_end_in_words(extension: str):
    """Whatever a few wrong bytes make of a file: it is read, or the error has a code. Nothing else comes out."""
    draw = random.Random(extension)
    for _ in range(60):
        data = bytearray(sample(extension))
        for _ in range(draw.randrange(1, 12)):
            data[draw.randrange(min(len(data), 2_000))] = draw.randrange(256)
        try:
            probed(bytes(data), f"clip{extension}")
        except LibraryError as error:
            assert error.message  # noqa: PT017 - either is right


class Pieces:
    """Bytes that count what is asked of them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def fetch(self, start: int, end: int) -> bytes:
        self.asked.append((start, end))
        return self.data[start:end]


@pytest.fixture
def numbered() -> Pieces:
    return Pieces(bytes(range(256)) * 4)


def test_a_file_elsewhere_reads_like_one_here(numbered: Pieces):
    draw = random.Random(3)
    here = io.BytesIO(numbered.data)
    there = RangeFile(numbered.fetch, len(numbered.data), block_bytes=100)
    for _ in range(300):
        offset, whence = draw.choice(
            [(draw.randrange(1_100), 0), (-draw.randrange(900), 2), (draw.randrange(9), 1)]
        )
        assert there.seek(offset, whence) == here.seek(offset, whence)
        size = draw.choice([-1, 0, 1, draw.randrange(400)])
        assert there.read(size) == here.read(size)
        assert there.tell() == here.tell()


def test_what_was_fetched_is_kept_for_a_while(numbered: Pieces):
    file = RangeFile(numbered.fetch, len(numbered.data), block_bytes=128)
    for _ in range(3):
        file.seek(0)
        file.read(300)
    assert numbered.asked == [(0, 128), (128, 256), (256, 384)]


def test_a_piece_that_comes_short_is_an_error():
    file = RangeFile(lambda start, end: b"short", 1_000)
    with pytest.raises(EOFError):
        file.read(10)


def test_there_is_nothing_before_the_start(numbered: Pieces):
    with pytest.raises(ValueError, match="nothing at"):
        RangeFile(numbered.fetch, 10).seek(-1)


def test_it_has_no_name_to_go_by(numbered: Pieces):
    opened: Callable[[], str] = lambda: RangeFile(numbered.fetch, 10).name  # type: ignore[attr-defined]  # noqa: E731
    with pytest.raises(AttributeError):
        opened()
