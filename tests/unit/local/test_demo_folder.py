import io
from pathlib import Path

import pytest
from rich.console import Console

from livedub.errors import InvalidInputError
from local.broadcast import BroadcastFiles
from local.demo import DemoOptions, run_demo


def test_an_earlier_demos_results_are_removed(tmp_path: Path):
    files = BroadcastFiles(tmp_path / "out")
    files.clear()
    (files.out / "report.json").write_text("{}")
    (files.recordings / "out.flv").touch()
    files.clear()
    assert not (files.out / "report.json").exists()
    assert list(files.recordings.iterdir()) == []


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "holiday.mp4").touch()
    with pytest.raises(InvalidInputError, match=r"holds something else.*Give a new folder"):
        BroadcastFiles(tmp_path).clear()
    assert (tmp_path / "clip" / "holiday.mp4").exists()


async def test_an_input_that_would_be_cleared_away_is_refused(tmp_path: Path):
    source = tmp_path / "out" / "clip" / "clip.mp4"
    source.parent.mkdir(parents=True)
    source.touch()
    with pytest.raises(InvalidInputError, match="lies in --out"):
        await run_demo(DemoOptions(input=source, out=tmp_path / "out"), Console(file=io.StringIO()))
    assert source.exists()
