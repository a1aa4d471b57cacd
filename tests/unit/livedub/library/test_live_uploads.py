"""The spool of live streams, against a storage in memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from livedub.library.library_errors import LibraryError, LibraryErrorCode, StorageUnavailableError
from livedub.library.live_uploads import Leavings, LiveSpool, LiveUploader
from livedub.library.transfers import Progress

ROOT = Path(__file__).resolve().parents[4]


class Memory:
    """Keeps what it is given; refuses the keys it is told to."""

    bucket_in = "in"

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.refuse = ""

    def store_file(
        self,
        path: Path,
        bucket: str,
        key: str,
        content_type: str = "",
        on_progress: Progress | None = None,
        *,
        resume: bool = False,
    ) -> None:
        assert bucket == "in"
        assert resume, "what a crash left of an upload must count"
        if self.refuse and self.refuse in key:
            raise StorageUnavailableError(f"writing {key}", "connection refused")
        self.uploads.append(key)
        self.stored[key] = path.read_bytes()
        if on_progress is not None:
            on_progress(len(self.stored[key]), len(self.stored[key]))


class Register:
    def __init__(self) -> None:
        self.prefixes: list[str] = []
        self.down = False

    def __call__(self, prefix: str) -> None:
        if self.down:
            raise LibraryError(LibraryErrorCode.CATALOGUE_DOWN, "nobody answers")
        self.prefixes.append(prefix)


@pytest.fixture
def spool(tmp_path: Path) -> LiveSpool:
    return LiveSpool(tmp_path / "spool")


@pytest.fixture
def storage() -> Memory:
    return Memory()


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def uploader(spool: LiveSpool, storage: Memory, register: Register) -> LiveUploader:
    return LiveUploader(spool, storage, register)


def claimed(spool: LiveSpool, stream_id: str, generation: int) -> Leavings:
    leavings = spool.claim(stream_id, generation)
    assert leavings is not None
    return leavings


def left(spool: LiveSpool, stream_id: str, generation: int, **files: bytes) -> None:
    leavings = claimed(spool, stream_id, generation)
    for name, content in files.items():
        path = leavings.folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    leavings.release()


def test_what_a_generation_left_goes_where_the_library_looks(
    spool: LiveSpool, storage: Memory, register: Register, uploader: LiveUploader
):
    left(spool, "demo", 7, demo__en_vtt=b"WEBVTT", out_flv=b"FLV", parts__1_mp4=b"mp4")
    assert uploader.upload_complete() == ["live/demo/7/"]
    assert storage.stored == {
        "live/demo/7/en.vtt": b"WEBVTT",
        "live/demo/7/out.flv": b"FLV",
        "live/demo/7/parts/1.mp4": b"mp4",
    }
    assert register.prefixes == ["live/demo/7/"]
    assert list(spool.folder.iterdir()) == []
    assert uploader.upload_complete() == []


def test_what_is_still_written_stays(spool: LiveSpool, storage: Memory, uploader: LiveUploader):
    writing = claimed(spool, "demo", 1)
    (writing.folder / "en.vtt").write_bytes(b"WEBVTT")
    assert uploader.upload_complete() == []
    assert storage.stored == {}
    writing.release()
    assert uploader.upload_complete() == ["live/demo/1/"]


def test_a_writer_that_was_killed_has_let_go(spool: LiveSpool, storage: Memory, uploader: LiveUploader):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from livedub.library.live_uploads import LiveSpool\n"
        "leavings = LiveSpool(Path(sys.argv[1])).claim('demo', 3)\n"
        "(leavings.folder / 'en.vtt').write_text('WEBVTT')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(spool.folder)],
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(ROOT / "layers/core/python"), "PATH": ""},
    )
    assert killed.returncode == -9
    assert uploader.upload_complete() == ["live/demo/3/"]
    assert list(storage.stored) == ["live/demo/3/en.vtt"]


def test_a_storage_that_is_down_costs_nothing_but_time(
    spool: LiveSpool, storage: Memory, register: Register, uploader: LiveUploader
):
    left(spool, "a", 1, a_vtt=b"a", b_vtt=b"b", c_vtt=b"c")
    left(spool, "z", 1, z_vtt=b"z")
    storage.refuse = "b.vtt"
    assert uploader.upload_complete() == ["live/z/1/"]
    storage.refuse = ""
    assert uploader.upload_complete() == ["live/a/1/"]
    assert sorted(storage.uploads) == ["live/a/1/a.vtt", "live/a/1/b.vtt", "live/a/1/c.vtt", "live/z/1/z.vtt"]
    assert register.prefixes == ["live/z/1/", "live/a/1/"]


def test_a_catalogue_that_is_down_is_asked_again_without_uploading_again(
    spool: LiveSpool, storage: Memory, register: Register, uploader: LiveUploader
):
    left(spool, "demo", 1, en_vtt=b"WEBVTT")
    register.down = True
    assert uploader.upload_complete() == []
    register.down = False
    assert uploader.upload_complete() == ["live/demo/1/"]
    assert storage.uploads == ["live/demo/1/en.vtt"]
    assert register.prefixes == ["live/demo/1/"]


def test_empty_files_and_links_are_nobodys_recordings(
    spool: LiveSpool, storage: Memory, uploader: LiveUploader, tmp_path: Path
):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    leavings = claimed(spool, "demo", 1)
    (leavings.folder / "empty.flv").touch()
    (leavings.folder / "link.vtt").symlink_to(secret)
    leavings.release()
    assert uploader.upload_complete() == ["live/demo/1/"]
    assert storage.stored == {}
    assert secret.read_text() == "secret"
    assert list(spool.folder.iterdir()) == []


def test_the_next_generation_stays_when_the_one_before_goes(
    spool: LiveSpool, storage: Memory, uploader: LiveUploader
):
    left(spool, "demo", 1, en_vtt=b"one")
    running = claimed(spool, "demo", 2)
    assert uploader.upload_complete() == ["live/demo/1/"]
    assert running.folder.is_dir()
    running.release()


def test_a_generation_has_one_writer(spool: LiveSpool):
    first = claimed(spool, "demo", 1)
    assert spool.claim("demo", 1) is None
    first.release()
    claimed(spool, "demo", 1).release()


@pytest.mark.parametrize("stream_id", ["", "../up", "a/b", "x" * 65, "ü"])
def test_only_streams_have_folders(spool: LiveSpool, stream_id: str):
    with pytest.raises(ValueError, match="no stream"):
        spool.claim(stream_id, 1)


def test_whoever_listens_may_end_it_and_what_came_counts(
    spool: LiveSpool, storage: Memory, uploader: LiveUploader
):
    class StopError(Exception):
        pass

    def stop(_done: int, _size: int) -> None:
        raise StopError

    left(spool, "demo", 1, a_vtt=b"a", b_vtt=b"b")
    with pytest.raises(StopError):
        uploader.upload_complete(stop)
    assert uploader.upload_complete() == ["live/demo/1/"]
    assert sorted(storage.stored) == ["live/demo/1/a.vtt", "live/demo/1/b.vtt"]


def test_what_else_lies_in_the_folder_is_left_alone(spool: LiveSpool, uploader: LiveUploader):
    for name in ("demo/notes/1.txt", "demo/1.5/a.vtt", "lost+found/x"):
        path = spool.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert uploader.upload_complete() == []
    assert (spool.folder / "demo/notes/1.txt").exists()
