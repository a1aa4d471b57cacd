import os
import threading
from pathlib import Path

import pytest

from livedub.library.live_uploads import LiveSpool
from media_edge.mediamtx.generation_log import GenerationLog
from media_edge.mediamtx.recordings import RecordingsSettings, collect, run

from .fakes import permit
from .test_gatekeeper import Setup, holder

NOW_S = 1_700_001_000.0
QUIET_S = 60.0


def part(folder: Path, stream_id: str, name: str, began_s: float, ended_s: float) -> Path:
    seconds, microseconds = divmod(round(began_s * 1_000_000), 1_000_000)
    path = folder / "parts/live" / stream_id / name / f"{seconds}-{microseconds:06}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"moof")
    os.utime(path, (ended_s, ended_s))
    return path


def collected(folder: Path, now_s: float = NOW_S) -> list[str]:
    moved = collect(folder, now_s=now_s, quiet_s=QUIET_S)
    return sorted(path.relative_to(folder / "spool").as_posix() for path in moved)


def noted(folder: Path, *entries: tuple[str, int, float]) -> GenerationLog:
    log = GenerationLog(folder / "generations")
    for entry in entries:
        log.note(*entry)
    return log


def test_a_part_belongs_to_whoever_published_when_it_began(tmp_path: Path):
    noted(tmp_path, ("demo", 3, NOW_S - 500), ("demo", 4, NOW_S - 200))
    part(tmp_path, "demo", "out", NOW_S - 499, NOW_S - 199)  # closed after the takeover
    part(tmp_path, "demo", "out", NOW_S - 199.5, NOW_S - 100)
    part(tmp_path, "demo", "out-fr", NOW_S - 199, NOW_S - 100)
    assert collected(tmp_path) == [
        f"demo/3/out-{int(NOW_S) - 499}-000000.mp4",
        f"demo/4/out-{int(NOW_S) - 200}-500000.mp4",
        f"demo/4/out-fr-{int(NOW_S) - 199}-000000.mp4",
    ]
    assert collected(tmp_path) == []


def test_a_source_that_was_there_first_belongs_to_whoever_dubbed_it(tmp_path: Path):
    noted(tmp_path, ("demo", 1, NOW_S - 300))
    part(tmp_path, "demo", "in", NOW_S - 310, NOW_S - 100)
    assert collected(tmp_path) == [f"demo/1/in-{int(NOW_S) - 310}-000000.mp4"]


def test_what_is_still_written_stays(tmp_path: Path):
    noted(tmp_path, ("demo", 1, NOW_S - 900))
    first = part(tmp_path, "demo", "out", NOW_S - 800, NOW_S - 5)
    second = part(tmp_path, "demo", "out", NOW_S - 5, NOW_S - 1)
    assert collected(tmp_path) == [f"demo/1/out-{first.name}"], "a later part is there"
    assert second.exists()
    assert collected(tmp_path, NOW_S + QUIET_S) == [f"demo/1/out-{second.name}"], "nothing came for a while"


def test_what_is_being_uploaded_is_not_disturbed(tmp_path: Path):
    noted(tmp_path, ("demo", 1, NOW_S - 900))
    waiting = part(tmp_path, "demo", "out", NOW_S - 800, NOW_S - 100)
    uploading = LiveSpool(tmp_path / "spool").claim("demo", 1)
    assert uploading is not None
    assert collected(tmp_path) == []
    assert waiting.exists()
    uploading.release()
    assert len(collected(tmp_path)) == 1


def test_a_part_of_nobody_stays_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    stranger = part(tmp_path, "demo", "out", NOW_S - 800, NOW_S - 100)
    assert collected(tmp_path) == []
    assert stranger.exists()
    assert "nobody is known to have published live/demo/out" in caplog.text


def test_what_else_lies_there_is_left_alone(tmp_path: Path):
    noted(tmp_path, ("demo", 1, NOW_S - 900))
    for name in (
        "parts/live/demo/out/notes.txt",
        "parts/live/demo/elsewhere/1-000000.mp4",
        "parts/x/y/z/1-000000.mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert collected(tmp_path) == []


def test_the_log_outlives_the_relay_and_does_not_grow_for_ever(tmp_path: Path):
    log = GenerationLog(tmp_path)
    for generation in range(6_000):
        log.note("demo", generation, float(generation))
        log.note("demo", generation, generation + 0.5)
    assert (tmp_path / "demo.log").stat().st_size < 70_000
    again = GenerationLog(tmp_path)
    assert again.at("demo", 5_999.2) == 5_999
    assert again.at("demo", 5_998.0) == 5_998
    assert again.at("demo", -1.0) is None
    assert again.at("other", 1.0) is None


def test_a_line_that_a_crash_cut_is_passed_over(tmp_path: Path):
    (tmp_path / "demo.log").write_text("100.000000 1\n200.0000")
    assert GenerationLog(tmp_path).at("demo", 300) == 1


def test_a_folder_that_cannot_be_written_keeps_nobody_out(tmp_path: Path):
    (tmp_path / "file").touch()
    GenerationLog(tmp_path / "file" / "folder").note("demo", 1, 1.0)


def test_collecting_and_uploading_go_on_after_a_failure(tmp_path: Path):
    stop, calls = threading.Event(), 0

    def upload() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("no disk")
        stop.set()

    run(RecordingsSettings(folder=tmp_path, period_s=0.01), upload, stop)
    assert calls == 2


async def test_the_relay_notes_whom_it_let_in():
    heard: list[tuple[str, int]] = []
    setup = Setup(lambda _: permit(generation=7))
    setup.gatekeeper._on_admitted = lambda *told: heard.append(told)
    await setup.gatekeeper.decide(holder("7"))
    assert heard == [("demo", 7)]
