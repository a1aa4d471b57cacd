import threading
from pathlib import Path

from livedub.library.live_uploads import LiveSpool
from livedub.library.transfers import Progress
from media_edge.worker.agent.live_library import LiveLibrary

BOUND_S = 30.0


class Uploads:
    """Stands for the uploader: notes calls, fails or holds as told."""

    def __init__(self) -> None:
        self.calls = 0
        self.fail = False
        self.hold = False
        self.called = threading.Semaphore(0)
        self.ended = threading.Event()

    def __call__(self, on_progress: Progress) -> None:
        self.calls += 1
        self.called.release()
        if self.fail:
            raise RuntimeError("whatever")
        if self.hold:
            try:
                while True:
                    on_progress(0, 1)
                    threading.Event().wait(0.01)
            finally:
                self.ended.set()


def library_of(tmp_path: Path, uploads: Uploads, *, records: bool = False) -> LiveLibrary:
    return LiveLibrary(LiveSpool(tmp_path / "spool"), uploads, records=records, retry_s=600)


def test_a_start_and_every_end_upload(tmp_path: Path):
    uploads = Uploads()
    library = library_of(tmp_path, uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    leavings = library.begin("demo", 1)
    assert leavings is not None
    library.end(leavings)
    assert uploads.called.acquire(timeout=BOUND_S)
    library.finish(BOUND_S)
    assert uploads.calls >= 3, "the host's end uploads once more"


def test_what_goes_wrong_is_tried_again(tmp_path: Path):
    uploads = Uploads()
    uploads.fail = True
    library = library_of(tmp_path, uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    uploads.fail = False
    library.end(library.begin("demo", 1))
    assert uploads.called.acquire(timeout=BOUND_S)
    library.finish(BOUND_S)


def test_a_host_that_goes_away_does_not_wait_for_ever(tmp_path: Path):
    uploads = Uploads()
    uploads.hold = True
    library = library_of(tmp_path, uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    library.finish(0.01)
    assert uploads.ended.wait(BOUND_S)


def test_a_worker_is_told_where_to_leave_things(tmp_path: Path):
    library = library_of(tmp_path, Uploads(), records=True)
    leavings = library.begin("demo", 7)
    folder = tmp_path / "spool" / "demo" / "7"
    assert library.worker_settings(leavings) == {
        "subtitles_dir": str(folder),
        "recording_path": str(folder / "out.flv"),
    }
    assert folder.is_dir()
    without = library_of(tmp_path, Uploads())
    assert without.begin("demo", 7) is None, "somebody else writes it"
    assert without.worker_settings(None) == {}
    library.end(leavings)
    assert without.worker_settings(without.begin("demo", 7)) == {"subtitles_dir": str(folder)}


def test_a_disk_that_cannot_be_written_costs_no_stream(tmp_path: Path):
    (tmp_path / "spool").write_text("a file, not a folder")
    library = library_of(tmp_path, Uploads())
    assert library.begin("demo", 1) is None
    library.end(None)
