import shutil
import threading
from pathlib import Path

import pytest

from livedub.library.live_uploads import LiveSpool
from livedub.library.transfers import Progress
from media_edge.worker.agent.live_library import LiveLibrary

BOUND_S = 30.0


class Uploads:
    """Stands for the uploader: empties the spool, notes calls, fails or holds as told."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.calls = 0
        self.fail = False
        self.hold = False
        self.called = threading.Semaphore(0)
        self.ended = threading.Event()

    def __call__(self, on_progress: Progress) -> None:
        self.calls += 1
        if self.hold:
            self._hold(on_progress)
        # A call is told when it is through: what comes after it is not emptied by it.
        try:
            if self.fail:
                raise RuntimeError("whatever")
            shutil.rmtree(self.spool, ignore_errors=True)
        finally:
            self.called.release()

    def _hold(self, on_progress: Progress) -> None:
        self.called.release()
        try:
            while True:
                on_progress(0, 1)
                threading.Event().wait(0.01)
        finally:
            self.ended.set()


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "spool")


def library_of(uploads: Uploads, *, records: bool = False, free_mb: int = 0) -> LiveLibrary:
    spool = LiveSpool(uploads.spool)
    return LiveLibrary(spool, uploads, records=records, free_mb=free_mb, retry_s=600, last_retry_s=0.01)


def test_a_start_and_every_end_upload(uploads: Uploads):
    library = library_of(uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    leavings = library.begin("demo", 1)
    assert leavings is not None
    library.end(leavings)
    assert uploads.called.acquire(timeout=BOUND_S)
    library.finish(BOUND_S)
    assert uploads.calls >= 3, "the host's end uploads once more"


def test_what_goes_wrong_is_tried_again(uploads: Uploads):
    uploads.fail = True
    library = library_of(uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    uploads.fail = False
    library.end(library.begin("demo", 1))
    assert uploads.called.acquire(timeout=BOUND_S)
    library.finish(BOUND_S)


def test_a_host_that_goes_away_tries_until_nothing_is_left(uploads: Uploads):
    library = library_of(uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    uploads.fail = True
    library.end(library.begin("demo", 1))
    finishing = threading.Thread(target=library.finish, args=(BOUND_S,))
    finishing.start()
    for _ in range(5):
        assert uploads.called.acquire(timeout=BOUND_S)
    assert finishing.is_alive()
    uploads.fail = False
    finishing.join(BOUND_S)
    assert not finishing.is_alive()
    assert not uploads.spool.exists()


def test_whoever_is_told_to_end_twice_leaves_the_rest(uploads: Uploads, caplog: pytest.LogCaptureFixture):
    library = library_of(uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    uploads.fail = True
    library.end(library.begin("demo", 1))
    finishing = threading.Thread(target=library.finish, args=(600.0,))
    finishing.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    library.stop()
    finishing.join(BOUND_S)
    assert not finishing.is_alive()
    assert f"1 generations could not be uploaded to the library: they wait in {uploads.spool}" in caplog.text


def test_a_host_that_goes_away_does_not_wait_for_ever(uploads: Uploads):
    uploads.hold = True
    library = library_of(uploads)
    library.start()
    assert uploads.called.acquire(timeout=BOUND_S)
    library.finish(0.01)
    assert uploads.ended.wait(BOUND_S)


def test_a_worker_is_told_where_to_leave_things(uploads: Uploads):
    library = library_of(uploads, records=True, free_mb=1)
    leavings = library.begin("demo", 7)
    folder = uploads.spool / "demo" / "7"
    assert library.worker_settings(leavings) == {
        "subtitles_dir": str(folder),
        "recording_path": str(folder / "out.flv"),
        "recording_free_mb": 1,
    }
    assert folder.is_dir()
    without = library_of(uploads)
    assert without.begin("demo", 7) is None, "somebody else writes it"
    assert without.worker_settings(None) == {}
    library.end(leavings)
    assert without.worker_settings(without.begin("demo", 7)) == {"subtitles_dir": str(folder)}


def test_a_disk_that_cannot_be_written_costs_no_stream(uploads: Uploads):
    uploads.spool.write_text("a file, not a folder")
    library = library_of(uploads)
    assert library.begin("demo", 1) is None
    library.end(None)


def test_a_disk_that_is_nearly_full_is_left_to_others(uploads: Uploads, caplog: pytest.LogCaptureFixture):
    library = library_of(uploads, free_mb=10**9)
    assert library.begin("demo", 1) is None
    assert "Nothing of this generation is kept for the library: the disk of" in caplog.text
    assert "AGENT_LIBRARY_FREE_MB leaves 1000000000 to others" in caplog.text
    assert list(uploads.spool.iterdir()) == []
