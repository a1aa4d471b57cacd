"""The entry point of the containers: what others left becomes variables, and the command takes its place."""

import shlex
import subprocess
from pathlib import Path

import pytest

from local.orchestration import export_lines
from tests.unit.media_edge.containers.compose_file import ROOT

ENTRY = ROOT / "media_edge/container_entry.sh"
AWKWARD = "a 'quoted' $HOME `id` \\ \"value\"\nof two lines"


def run(run_dir: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENTRY, *arguments],
        env={"PATH": "/usr/bin:/bin", "LIVEDUB_RUN_DIR": str(run_dir), **variables},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_what_was_left_wins_over_the_containers_own_variables(tmp_path: Path):
    (tmp_path / "agent.env").write_text(export_lines({"AWS_REGION": "local", "AGENT_WORK_QUEUE_URL": "q"}))
    done = run(
        tmp_path,
        "agent",
        "--",
        "sh",
        "-c",
        'echo "$AWS_REGION $AGENT_WORK_QUEUE_URL $KEPT"',
        AWS_REGION="x",
        KEPT="k",
    )
    assert (done.returncode, done.stdout) == (0, "local q k\n")


def test_a_value_arrives_as_it_was_whatever_is_in_it(tmp_path: Path):
    (tmp_path / "agent.env").write_text(export_lines({"VALUE": AWKWARD}))
    done = run(tmp_path, "agent", "--", "printenv", "VALUE")
    assert done.stdout == f"{AWKWARD}\n"
    assert shlex.quote(AWKWARD) in (tmp_path / "agent.env").read_text()


def test_where_nobody_left_anything_the_command_runs_all_the_same(tmp_path: Path):
    assert run(tmp_path, "agent", "media-cache", "--", "echo", "--", "here").stdout == "-- here\n"


def test_the_command_gets_the_process_and_its_exit_code_is_ours(tmp_path: Path):
    assert run(tmp_path, "--", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize("arguments", [(), ("agent",), ("agent", "media-cache")])
def test_without_a_command_it_says_how_it_is_used(tmp_path: Path, arguments: tuple[str, ...]):
    done = run(tmp_path, *arguments)
    assert done.returncode != 0
    assert "usage: container_entry.sh" in done.stderr
