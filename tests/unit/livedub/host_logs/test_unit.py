"""livedub-logs.service against the command that it starts, against its neighbours, and against systemd's own judgement."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from livedub.cli.main import app

ROOT = Path(__file__).parents[4]
UNIT = ROOT / "layers/core/python/livedub/host_logs/livedub-logs.service"
WORST_EXPOSURE = 2.0
"""0 is sealed, 10 is open; what stays is that it speaks to the network and reads the journal."""
NO_SERVICE = {"livedub-media-cleanup.service", "livedub-media-renew.service", "livedub-library@.service"}
"""Units that end by themselves, and one of hosts that are not ours."""


def value(name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return found


def test_it_starts_a_command_that_there_is_with_options_that_it_has():
    _, *words = shlex.split(value("ExecStart"))
    command: Any = typer.main.get_command(app)
    for word in words[:2]:
        command = command.commands[word]
    context = command.make_context("logs", words[2:])
    assert context.params["group"] == "${LOG_GROUP}"
    assert [str(each) for each in context.params["volumes"]] == ["$LOG_VOLUMES"]
    assert str(context.params["state"]) == f"/var/lib/{value('StateDirectory')}"


def test_it_is_stopped_after_every_service_whose_last_words_count():
    shipped = {
        path.name
        for folder in ("media_edge", "layers/core/python/livedub")
        for path in (ROOT / folder).rglob("*.service")
    } - {UNIT.name}
    assert set(value("Before").split()) == shipped - NO_SERVICE | {"livedub-sts.service"}
    assert value("KillMode") == "mixed", "journalctl must outlive the signal"


def test_it_may_read_the_journal_and_write_its_own_folder_alone():
    assert value("DynamicUser") == "yes"
    assert value("SupplementaryGroups") == "systemd-journal"
    assert not re.search(r"^(PrivateUsers|ProcSubset|ReadWritePaths)=", UNIT.read_text(), re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_it_and_finds_it_well_sealed(tmp_path: Path):
    shown = re.sub(r"^(Documentation|EnvironmentFile)=.*\n", "", UNIT.read_text(), flags=re.MULTILINE)
    unit = tmp_path / UNIT.name
    unit.write_text(shown.replace("/usr/local/bin/livedub", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert (verified.returncode, ours) == (0, [])
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    exposure = re.search(r"exposure level for livedub-logs\.service: ([0-9.]+)", judged.stdout)
    assert exposure, judged.stdout + judged.stderr
    assert float(exposure[1]) <= WORST_EXPOSURE
