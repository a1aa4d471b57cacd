import pytest

from livedub.library.media_types import (
    AUDIO_EXTENSIONS,
    MEDIA_EXTENSIONS,
    VIDEO_EXTENSIONS,
    MediaKind,
    content_type_of,
    media_kind,
)


def test_the_supported_types():
    assert {".mp4", ".mkv", ".avi", ".mov", ".webm", ".flv", ".wmv", ".m4v"} == VIDEO_EXTENSIONS
    assert {".mp3", ".wav", ".flac", ".aac", ".ogg", ".m4a"} == AUDIO_EXTENSIONS


@pytest.mark.parametrize("extension", sorted(MEDIA_EXTENSIONS))
def test_every_one_has_a_kind_and_a_type_of_its_own(extension: str):
    kind = media_kind(f"a/CLIP{extension.upper()}")
    assert kind is not None
    assert kind is (MediaKind.VIDEO if extension in VIDEO_EXTENSIONS else MediaKind.AUDIO)
    assert content_type_of(f"clip{extension}").split("/")[0] == kind.value


@pytest.mark.parametrize("key", ["notes.txt", "mp4", "clip.mp4.part", "clip.vtt"])
def test_the_rest_is_no_media(key: str):
    assert media_kind(key) is None


def test_what_jobs_make_beside_media():
    assert content_type_of("hls/index.m3u8") == "application/vnd.apple.mpegurl"
    assert content_type_of("en.vtt") == "text/vtt"
    assert content_type_of("anything") == "application/octet-stream"
