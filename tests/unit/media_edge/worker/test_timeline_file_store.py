from __future__ import annotations

from pathlib import Path

import pytest

from livedub.errors import InvalidInputError
from livedub.timeline.origin import TimelineOrigin
from media_edge.worker.timeline_file_store import TimelineFileStore

ORIGIN = TimelineOrigin(utc_ns=1_800_000_000_123_456_789, media_offset_ns=-5, delay_ms=8_000, generation=3)


def test_a_stream_that_never_ran_has_no_origin(tmp_path: Path):
    assert TimelineFileStore(tmp_path / "none").load("stadium") is None


def test_what_is_saved_is_loaded_per_stream(tmp_path: Path):
    store = TimelineFileStore(tmp_path / "deep" / "state")
    store.save("stadium", ORIGIN)
    store.save("arena", TimelineOrigin(1, 2, 3, 4))
    assert store.load("stadium") == ORIGIN
    assert store.load("arena") == TimelineOrigin(1, 2, 3, 4)


def test_saving_replaces_and_leaves_nothing_else_behind(tmp_path: Path):
    store = TimelineFileStore(tmp_path)
    for generation in range(5):
        store.save("stadium", TimelineOrigin(1, 2, 3, generation))
    assert [path.name for path in tmp_path.iterdir()] == ["stadium.timeline.json"]


def test_a_failed_save_keeps_the_old_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = TimelineFileStore(tmp_path)
    store.save("stadium", ORIGIN)

    def fail(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save("stadium", TimelineOrigin(1, 2, 3, 4))
    monkeypatch.undo()
    assert store.load("stadium") == ORIGIN
    assert [path.name for path in tmp_path.iterdir()] == ["stadium.timeline.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"utc_ns": "soon"}'])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, text: str):
    (tmp_path / "stadium.timeline.json").write_text(text)
    with pytest.raises(InvalidInputError, match="Delete the"):
        TimelineFileStore(tmp_path).load("stadium")


def test_what_a_killed_worker_left_unfinished_is_cleared_away(tmp_path: Path):
    store = TimelineFileStore(tmp_path)
    store.save("stadium", ORIGIN)
    (tmp_path / ".stadium.x1.tmp").write_text("{")
    assert store.load("stadium") == ORIGIN
    assert [path.name for path in tmp_path.iterdir()] == ["stadium.timeline.json"]
