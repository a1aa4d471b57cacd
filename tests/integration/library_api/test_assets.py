import urllib.parse
import wave
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.library_api.rig import BUCKET_IN, LibraryRig


@pytest.fixture
def shelf(library: LibraryRig) -> LibraryRig:
    """Three files, scanned."""
    for key in ("shows/one.mp4", "shows/two.mkv", "voice.wav"):
        library.put(key)
    assert library.ask("POST", "/api/assets/scan", {}).body["registered"] == 3
    return library


def tone(path: Path) -> bytes:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return path.read_bytes()


def test_a_scan_registers_what_is_new_and_skips_what_is_known(library: LibraryRig):
    library.put("shows/one.mp4")
    library.put("two.wav")
    library.put("notes.txt")
    first = library.ask("POST", "/api/assets/scan", {})
    assert (first.status, first.body["found"], first.body["registered"]) == (200, 2, 2)
    assert first.body["files"] == ["shows/one.mp4", "two.wav"]
    again = library.ask("POST", "/api/assets/scan", {"prefix": "shows/"})
    assert (again.body["found"], again.body["registered"], again.body["skipped"]) == (1, 0, 1)


def test_a_scan_reads_what_is_new(library: LibraryRig, tmp_path: Path):
    library.put("voice.wav", tone(tmp_path / "tone.wav"))
    library.put("odd.mp4", b"this is no media at all")
    library.ask("POST", "/api/assets/scan", {})
    odd, voice = library.ask("GET", "/api/assets").body["items"]
    assert (voice["status"], voice["container"], voice["duration_ms"]) == ("READY", "wav", 1_000)
    assert voice["streams"][0]["sample_rate_hz"] == 16_000
    assert (odd["status"], odd["error"]["code"]) == ("UNREADABLE", "NOT_MEDIA")


def test_assets_come_in_pages_and_in_order(shelf: LibraryRig):
    first = shelf.ask("GET", "/api/assets", query={"limit": 2}).body
    assert [asset["key"] for asset in first["items"]] == ["shows/one.mp4", "shows/two.mkv"]
    rest = shelf.ask("GET", "/api/assets", query={"limit": 2, "cursor": first["next_cursor"]}).body
    assert [asset["key"] for asset in rest["items"]] == ["voice.wav"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"search": "TWO"}, ["shows/two.mkv"]),
        ({"search": "100%"}, []),
        ({"prefix": "shows/"}, ["shows/one.mp4", "shows/two.mkv"]),
        ({"bucket": "out"}, []),
        ({"status": "READY"}, []),
        ({"status": "UNREADABLE", "prefix": "v"}, ["voice.wav"]),
        ({"kind": "video"}, []),
    ],
)
def test_assets_are_searched(shelf: LibraryRig, query: dict[str, str], expected: list[str]):
    found = shelf.ask("GET", "/api/assets", query=query)
    assert (found.status, [asset["key"] for asset in found.body["items"]]) == (200, expected)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": 201}, "PAGE_TOO_LARGE"),
        ({"limit": 1_000_000}, "PAGE_TOO_LARGE"),
        ({"limit": 0}, "INVALID_REQUEST"),
        ({"limit": "many"}, "INVALID_REQUEST"),
        ({"cursor": "never given out"}, "INVALID_REQUEST"),
        ({"status": "FINE"}, "INVALID_REQUEST"),
        ({"search": "a\x00b"}, "INVALID_REQUEST"),
        ({"search": "x" * 201}, "INVALID_REQUEST"),
        ({"prefix": "../"}, "BAD_KEY"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(library: LibraryRig, query: dict[str, str], code: str):
    answer = library.ask("GET", "/api/assets", query=query)
    assert (answer.status, answer.code) == (422, code)


def test_one_asset(shelf: LibraryRig):
    listed = shelf.ask("GET", "/api/assets").body["items"][0]
    assert shelf.ask("GET", f"/api/assets/{listed['id']}").body == listed
    assert shelf.ask("GET", f"/api/assets/{uuid4()}").code == "NO_SUCH_ASSET"
    assert shelf.ask("GET", "/api/assets/one").code == "INVALID_REQUEST"


class TestAddresses:
    @pytest.mark.parametrize(
        "key", ["shows/three.mp4", "пример/видео.mov", "emoji 🎬.mp4", "a" * 1_020 + ".mp4", "a&b=c?d#e.MP4"]
    )
    def test_an_address_to_upload(self, library: LibraryRig, key: str):
        answer = library.ask("POST", "/api/assets/upload-url", {"key": key})
        assert (answer.status, answer.body["method"], answer.body["key"]) == (200, "PUT", key)
        url = urllib.parse.urlsplit(answer.body["url"])
        assert urllib.parse.unquote(url.path).endswith(f"/{key}")
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            ("../etc/passwd.mp4", "BAD_KEY"),
            ("a/../b.mp4", "BAD_KEY"),
            ("two\nlines.mp4", "BAD_KEY"),
            ("nul\x00.mp4", "BAD_KEY"),
            ("/a.mp4", "BAD_KEY"),
            ("é" * 511 + ".mp4", "BAD_KEY"),
            ("x" * 1_025, "INVALID_REQUEST"),
            ("", "INVALID_REQUEST"),
            ("notes.txt", "UNSUPPORTED_TYPE"),
            ("no extension", "UNSUPPORTED_TYPE"),
        ],
    )
    def test_a_key_that_cannot_be_is_refused(self, library: LibraryRig, key: str, code: str):
        answer = library.ask("POST", "/api/assets/upload-url", {"key": key})
        assert (answer.status, answer.code) == (422, code)
        assert answer.body["message"]
        assert answer.body["remedy"]

    def test_an_address_to_download(self, shelf: LibraryRig):
        listed = shelf.ask("GET", "/api/assets").body["items"][0]
        answer = shelf.ask("GET", f"/api/assets/{listed['id']}/download-url")
        assert (answer.status, answer.body["method"], answer.body["content_type"]) == (
            200,
            "GET",
            "video/mp4",
        )
        assert "shows/one.mp4" in answer.body["url"]

    def test_a_file_that_is_gone_has_none(self, shelf: LibraryRig):
        listed = shelf.ask("GET", "/api/assets").body["items"][0]
        shelf.s3.delete_object(Bucket=BUCKET_IN, Key=listed["key"])
        assert shelf.ask("POST", "/api/assets/scan", {}).body["gone"] == 1
        answer = shelf.ask("GET", f"/api/assets/{listed['id']}/download-url")
        assert (answer.status, answer.code) == (404, "NO_SUCH_KEY")


def test_a_bucket_that_is_missing_is_named(library: LibraryRig):
    library.s3.delete_bucket(Bucket=BUCKET_IN)
    answer = library.ask("POST", "/api/assets/scan", {})
    assert (answer.status, answer.code) == (502, "NO_SUCH_BUCKET")
    assert BUCKET_IN in answer.body["message"]
