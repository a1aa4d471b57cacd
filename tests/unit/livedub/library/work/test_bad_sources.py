"""What cannot be worked on is refused with a code that never changes, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from livedub.library.library_errors import DiskFullError, LibraryError, LibraryErrorCode
from livedub.library.presets import BUILT_IN
from livedub.library.types import DubParameters, DubTarget, JobKind, TranscodeParameters, TrimParameters
from livedub.library.work import workspace
from tests.unit.livedub.library.work.work_rig import FolderStorage, job_of, make_clip, run

ONE_SECOND = TrimParameters(start_ms=0, end_ms=1_000)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=2)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "silent.mp4", seconds=1, audio=None)


def refused(
    tmp_path: Path,
    source: Path | None,
    parameters: TrimParameters | TranscodeParameters | DubParameters = ONE_SECOND,
    *,
    key: str = "in/clip.mp4",
    output: str = "out/clip.mp4",
) -> LibraryError:
    storage = FolderStorage(tmp_path)
    if source is not None:
        storage.put(key, source)
    preset = BUILT_IN.get(parameters.preset) if isinstance(parameters, TranscodeParameters) else None
    kinds = {TrimParameters: JobKind.TRIM, TranscodeParameters: JobKind.TRANSCODE, DubParameters: JobKind.DUB}
    with pytest.raises(LibraryError) as caught:
        run(job_of(parameters, kinds[type(parameters)], key, output, preset), storage, tmp_path)
    assert storage.keys() == []
    assert not list((tmp_path / "work").glob("*"))
    assert caught.value.message
    return caught.value


def bent(change: Callable[[bytes], bytes], clip: Path, tmp_path: Path) -> Path:
    path = tmp_path / "bent"
    path.write_bytes(change(clip.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: b"", LibraryErrorCode.EMPTY_FILE),
        (lambda _: b"Dear customer, please find attached the film.\n" * 99, LibraryErrorCode.NOT_MEDIA),
        (lambda _: b"#EXTM3U\n#EXTINF:6,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", LibraryErrorCode.NOT_MEDIA),
        (lambda data: data[: len(data) // 2], LibraryErrorCode.TRUNCATED),
    ],
    ids=["empty", "a letter", "a playlist", "cut short"],
)
def test_a_source_that_is_no_whole_media_file(
    change: Callable[[bytes], bytes], code: LibraryErrorCode, clip: Path, tmp_path: Path
):
    assert refused(tmp_path, bent(change, clip, tmp_path)).code is code


def test_a_source_that_calls_itself_something_else(clip: Path, tmp_path: Path):
    assert refused(tmp_path, clip, key="in/clip.mp3").code is LibraryErrorCode.WRONG_EXTENSION


def test_a_source_that_is_not_there(tmp_path: Path):
    assert refused(tmp_path, None).code is LibraryErrorCode.NO_SUCH_KEY


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("start_ms", "end_ms"), [(2_500, 3_000), (1_000, 2_100)])
def test_a_piece_outside_the_file(clip: Path, tmp_path: Path, start_ms: int, end_ms: int, exact: bool):
    error = refused(tmp_path, clip, TrimParameters(start_ms=start_ms, end_ms=end_ms, exact=exact))
    assert error.code is LibraryErrorCode.TRIM_OUTSIDE_DURATION
    assert "2000 ms" in error.message


@pytest.mark.parametrize(
    ("output", "exact"),
    [("out/clip", False), ("out/clip.doc", False), ("out/clip.wav", False), ("out/clip.avi", True)],
)
def test_an_output_that_cannot_hold_it(clip: Path, tmp_path: Path, output: str, exact: bool):
    parameters = TrimParameters(start_ms=0, end_ms=1_000, exact=exact)
    assert refused(tmp_path, clip, parameters, output=output).code is LibraryErrorCode.UNSUPPORTED_TYPE


def test_a_preset_that_writes_something_else_than_the_key_says(clip: Path, tmp_path: Path):
    error = refused(tmp_path, clip, TranscodeParameters(preset="hls"))
    assert error.code is LibraryErrorCode.INVALID_REQUEST
    assert ".m3u8" in error.remedy


def test_a_preset_for_what_the_source_lacks(silent: Path, tmp_path: Path):
    error = refused(tmp_path, silent, TranscodeParameters(preset="audio-only"), output="out/clip.m4a")
    assert error.code is LibraryErrorCode.INVALID_REQUEST


def test_a_preset_that_nobody_knows(clip: Path, tmp_path: Path):
    assert refused(tmp_path, clip, TranscodeParameters(preset="gone")).code is LibraryErrorCode.UNKNOWN_PRESET


def test_nothing_to_dub(silent: Path, tmp_path: Path):
    parameters = DubParameters(targets=(DubTarget(language="en"),))
    assert refused(tmp_path, silent, parameters).code is LibraryErrorCode.INVALID_REQUEST


def test_nobody_to_dub_it(clip: Path, tmp_path: Path):
    parameters = DubParameters(targets=(DubTarget(language="en"),))
    assert refused(tmp_path, clip, parameters).code is LibraryErrorCode.MISCONFIGURED


def test_a_work_folder_without_room(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full = type("Usage", (), {"free": 100})
    monkeypatch.setattr(workspace.shutil, "disk_usage", lambda _: full)
    error = refused(tmp_path, clip)
    assert isinstance(error, DiskFullError)
    assert error.retryable
