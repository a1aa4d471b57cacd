"""The relay's systemd unit against the relay, and against systemd's own judgement."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from livedub.settings import variables
from media_edge.mediamtx.relay.settings import RelaySettings

UNIT = Path(__file__).parents[4] / "media_edge" / "mediamtx" / "livedub-relay.service"
WORST_EXPOSURE = 1.5
"""0 is sealed, 10 is open; what stays is that it speaks to the network."""


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_it_starts_what_there_is():
    (command,) = directives()["ExecStart"]
    assert command.endswith(" -m media_edge.mediamtx.relay")
    assert importlib.util.find_spec("media_edge.mediamtx.relay.__main__") is not None


def test_its_variables_are_the_relays_and_the_key_is_none_of_them():
    known = {variable.name for variable in variables(RelaySettings)}
    given = set(re.findall(r"\bRELAY_\w+(?==)", "\n".join(directives()["Environment"])))
    assert given == {"RELAY_SIGNING_KEY_FILE"} <= known
    assert directives()["LoadCredential"] == ["relay.key:/etc/livedub/relay.key"]
    assert "%d/relay.key" in UNIT.read_text()


def test_stopping_leaves_time_for_what_waits():
    settings = RelaySettings.model_fields
    wanted_s = settings["auth_timeout_ms"].default / 1_000 + 1 + settings["drain_timeout_s"].default
    assert int(directives()["TimeoutStopSec"][0]) > wanted_s
    assert directives()["RestartPreventExitStatus"] == ["2"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_it_well_sealed():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    exposure = re.search(r"exposure level for livedub-relay\.service: ([0-9.]+)", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure[1]) <= WORST_EXPOSURE
