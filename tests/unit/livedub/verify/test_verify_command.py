"""`livedub verify`: the report alone on stdout, a verdict as exit code, errors that name the file."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from livedub.cli.verify import verify
from livedub.errors import InvalidInputError

from .conftest import DELAY_MS, Carry

app = typer.Typer()
app.command()(verify)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def events(folder: Path) -> Path:
    path = folder / "events.jsonl"
    path.write_text(json.dumps({"event": "session", "delay_ms": DELAY_MS}) + "\n")
    return path


def test_a_verified_pair_exits_0_with_the_report_on_stdout(programme: Path, carry: Carry, tmp_path: Path):
    done = run(programme, carry(programme), "--events", events(tmp_path), "--no-listen")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["verified"] is True
    assert "video_untouched" in done.stderr


def test_a_damaged_output_exits_1_and_says_what_failed(programme: Path, carry: Carry):
    out = carry(programme, lambda p: None if (p.kind, p.index) == ("audio", 100) else p)

    done = run(programme, out)

    assert done.exit_code == 1
    assert json.loads(done.stdout)["predicates"]["audio_no_holes"] is False
    assert "FAILED" in done.stderr
    assert "not verified" in done.stderr


def test_json_only_leaves_stderr_alone(programme: Path, carry: Carry):
    done = run(programme, carry(programme), "--json-only")

    assert done.exit_code == 0
    assert done.stderr == ""


def test_a_log_cut_short_by_a_crash_is_read_up_to_there(programme: Path, carry: Carry, tmp_path: Path):
    log = events(tmp_path)
    log.write_text(log.read_text() + '{"event":"fragment","start_')

    done = run(programme, carry(programme), "--events", log, "--no-listen")

    assert done.exit_code == 0


@pytest.mark.parametrize("content", ["not json\n{}\n", "[1]\n{}\n"])
def test_a_log_that_is_none_is_named(programme: Path, carry: Carry, tmp_path: Path, content: str):
    log = tmp_path / "events.jsonl"
    log.write_text(content)

    done = run(programme, carry(programme), "--events", log, "--no-listen")

    assert isinstance(done.exception, InvalidInputError)
    assert "line 1 of" in str(done.exception)


def test_a_reference_that_is_none_is_named(programme: Path, carry: Carry, tmp_path: Path):
    reference = tmp_path / "clip.reference.json"
    reference.write_text("{}")
    log = events(tmp_path)
    fragment = {"event": "fragment", "start_ns": 3 * 10**9, "duration_ns": 10**9, "rung": "dub"}
    log.write_text(log.read_text() + json.dumps(fragment) + "\n")

    done = run(programme, carry(programme), "--events", log, "--reference", reference, "--no-listen")

    assert isinstance(done.exception, InvalidInputError)
    assert "clip.reference.json" in str(done.exception)
