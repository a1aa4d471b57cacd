"""The systemd unit of a host says what the code relies on."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import media_edge.library
from media_edge.library.__main__ import main

UNIT = Path(media_edge.library.__file__).parent / "livedub-library@.service"


class _Unit(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = _Unit(strict=False)
    unit.read(UNIT)
    return unit["Service"]


@pytest.mark.parametrize("command", ["celery", "host"])
def test_both_instances_are_commands(service: configparser.SectionProxy, command: str):
    words = shlex.split(service["ExecStart"].replace("%i", command))
    assert words[1:3] == ["-m", "media_edge.library"]
    with pytest.raises(SystemExit) as ended:
        main([*words[3:], "--help"])
    assert ended.value.code == 0


def test_a_stop_asks_the_worker_alone_and_gives_it_time(service: configparser.SectionProxy):
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert int(service["TimeoutStopSec"]) >= 60


def test_a_wrong_setting_is_not_tried_again_and_again(
    service: configparser.SectionProxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LIBRARY_JOB_LEASE_S", "2")
    assert main(["celery"]) == int(service["RestartPreventExitStatus"])
    assert "LIBRARY_JOB_LEASE_S" in capsys.readouterr().err
    monkeypatch.delenv("LIBRARY_JOB_LEASE_S")
    monkeypatch.delenv("LIBRARY_WORK_QUEUE_URL", raising=False)
    assert main(["host"]) == 2
    assert "LIBRARY_WORK_QUEUE_URL" in capsys.readouterr().err


def test_it_can_do_no_more_than_it_must(service: configparser.SectionProxy):
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it(tmp_path: Path):
    copy = tmp_path / "livedub-library@celery.service"
    text = UNIT.read_text().replace("/opt/livedub/.venv/bin/python", "/usr/bin/env")
    copy.write_text(text.replace("file:/opt/livedub/docs/library-jobs.md", "man:env(1)"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "livedub-library@" in line]
    assert complaints == []
