"""The units of a media host against what they start, against each other, and against systemd's own judgement."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from livedub.settings import variables
from media_edge.mediamtx.recordings import RecordingsSettings
from media_edge.mediamtx.relay.settings import RelaySettings

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "media_edge" / "mediamtx"
UNITS = ("mediamtx", "livedub-relay", "livedub-recordings")
INSTALLED = "/opt/livedub/.venv/lib/python3.11/site-packages/"
RECORDINGS = "/var/lib/livedub-recordings"
WORST_EXPOSURE = {"mediamtx": 2.0, "livedub-relay": 1.5, "livedub-recordings": 2.0}
"""0 is sealed, 10 is open; what stays is that they speak to the network, and keep files."""


def text(name: str) -> str:
    return (FOLDER / name).read_text()


def values(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text(f"{unit}.service"), re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_names_is_in_the_wheel(unit: str):
    named = re.findall(re.escape(INSTALLED) + r"(\S+)", text(f"{unit}.service"))
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert "PYTHONPATH" not in text(f"{unit}.service"), "the wheel is where Python looks anyway"


@pytest.mark.parametrize(
    ("unit", "module"), [("livedub-relay", "relay.__main__"), ("livedub-recordings", "recordings")]
)
def test_python_units_start_what_there_is(unit: str, module: str):
    [command] = values(unit, "ExecStart")
    name = f"media_edge.mediamtx.{module.removesuffix('.__main__')}"
    assert command == f"/opt/livedub/.venv/bin/python -m {name}"
    assert importlib.util.find_spec(f"media_edge.mediamtx.{module}") is not None


def test_the_server_finds_its_hook_and_the_relay():
    environment = dict(each.split("=", 1) for each in values("mediamtx", "Environment"))
    assert environment["LIVEDUB_MEDIAMTX_HOOK"] == f"{INSTALLED}media_edge/mediamtx/hook.py"
    port = RelaySettings.model_fields["port"].default
    assert environment["LIVEDUB_HOOK_URL"] == f"http://127.0.0.1:{port}/hook"
    assert f"authHTTPAddress: http://127.0.0.1:{port}/auth" in text("mediamtx.yml")
    assert "livedub-relay.service" in values("mediamtx", "After")[0]
    assert "mediamtx.service" in values("livedub-relay", "Before")


def test_all_agree_on_the_folder_of_recordings():
    assert f"recordPath: {RECORDINGS}/parts/" in text("mediamtx.yml")
    assert str(RecordingsSettings.model_fields["folder"].default) == RECORDINGS
    assert f"RELAY_RECORDINGS_DIR={RECORDINGS}" in text("livedub-relay.recordings.conf")
    for unit in ("mediamtx", "livedub-recordings"):
        assert values(unit, "ReadWritePaths") == [RECORDINGS]
        assert values(unit, "RequiresMountsFor") == [RECORDINGS]
    # What one writes, the others must be able to write to.
    assert {values(unit, "UMask")[0] for unit in ("mediamtx", "livedub-recordings")} == {"0007"}
    assert "UMask=0007" in text("livedub-relay.recordings.conf")
    groups = {values(unit, "Group")[0] for unit in ("mediamtx", "livedub-recordings")}
    assert (
        groups
        == {"livedub-media"}
        == set(re.findall(r"^SupplementaryGroups=(.*)$", text("livedub-relay.recordings.conf"), re.MULTILINE))
    )


def test_the_drop_in_names_settings_of_the_relay():
    named = set(re.findall(r"\bRELAY_\w+(?==)", text("livedub-relay.recordings.conf")))
    assert named
    assert named <= {each.name for each in variables(RelaySettings)}


def test_users_of_the_units_are_made():
    made = dict(
        line.split()[:2][::-1]
        for line in text("livedub-media-host.sysusers.conf").splitlines()
        if line[0] in "ugm"
    )
    assert set(made) == {"livedub-media", "mediamtx"}
    for unit in ("mediamtx", "livedub-recordings"):
        assert values(unit, "User") == ["mediamtx"]


@pytest.fixture
def as_installed(tmp_path: Path) -> Path:
    """The units where systemd would read them, with programs and files that this machine has."""
    for unit in UNITS:
        shown = re.sub(r"/opt/livedub/\.venv/bin/\w+", "/bin/true", text(f"{unit}.service"))
        shown = re.sub(r"^(Documentation|EnvironmentFile|LoadCredential)=.*\n", "", shown, flags=re.MULTILINE)
        (tmp_path / f"{unit}.service").write_text(shown)
    drop_ins = tmp_path / "livedub-relay.service.d"
    drop_ins.mkdir()
    shutil.copy(FOLDER / "livedub-relay.recordings.conf", drop_ins / "recordings.conf")
    return tmp_path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_them_all_with_the_drop_in(as_installed: Path):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(as_installed / f"{unit}.service") for unit in UNITS)],
        env={"SYSTEMD_UNIT_PATH": f"{as_installed}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if any(unit in line for unit in UNITS)]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_them_well_sealed(unit: str):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(FOLDER / f"{unit}.service")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    exposure = re.search(rf"exposure level for {unit}\.service: ([0-9.]+)", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure[1]) <= WORST_EXPOSURE[unit]


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_systemd_makes_the_users(tmp_path: Path):
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "etc" / name).touch()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(FOLDER / "livedub-media-host.sysusers.conf")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mediamtx:" in (tmp_path / "etc/passwd").read_text()
    groups = dict(line.split(":", 1) for line in (tmp_path / "etc/group").read_text().splitlines())
    assert groups["livedub-media"].endswith(":mediamtx")
