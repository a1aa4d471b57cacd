"""The Dockerfiles that compose.yaml builds: clean, pinned, not root, and every file they copy is there and let through."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.media_edge.containers.compose_file import ROOT, compose, instructions, stages

DOCKERFILES = sorted(
    {service.build.dockerfile for service in compose(gpu=True).services.values() if service.build}
)
OURS = sorted({service.build.dockerfile for service in compose().services.values() if service.build})
DEBIAN = re.compile(r"debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}")
SECRET = "--mount=type=secret"  # noqa: S105 - an option
LOCKED = re.compile(r"lock_environment\.sh /opt/livedub ((?:locks/[a-z-]+\.txt ?)+)")


def sources(dockerfile: str) -> set[str]:
    """What the build context must hold."""
    found: set[str] = set()
    for line in instructions(ROOT / dockerfile):
        if line.startswith("COPY ") and "--from=" not in line:
            found.update(line.split()[1:-1])
        found.update(re.findall(r"--mount=type=bind,source=([^,\s]+)", line))
    return found


def let_through(dockerfile: str) -> list[str]:
    """The exceptions of the ignore file beside it."""
    lines = (ROOT / f"{dockerfile}.dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_has_nothing_to_say(dockerfile: str):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / dockerfile], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("dockerfile", "source"), [(each, source) for each in OURS for source in sorted(sources(each))]
)
def test_every_source_exists_is_tracked_and_reaches_the_build(dockerfile: str, source: str):
    assert (ROOT / source).exists()
    listed = subprocess.run(
        ["git", "ls-files", "--", source], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert listed.stdout
    assert any(path == source or source.startswith(f"{path}/") for path in let_through(dockerfile))


@pytest.mark.parametrize("dockerfile", OURS)
def test_the_build_gets_what_it_copies_and_nothing_else(dockerfile: str):
    lines = (ROOT / f"{dockerfile}.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line[:1] not in ("#", "")]
    assert rules[0] == "*"
    for path in let_through(dockerfile):
        assert any(source == path or source.startswith(f"{path}/") for source in sources(dockerfile)), path
    # Behind the exceptions, or they would be let through again.
    last = rules.index(f"!{let_through(dockerfile)[-1]}")
    assert {"**/__pycache__", "**/*.pyc"} <= set(rules[last + 1 :])


@pytest.mark.parametrize("dockerfile", OURS)
def test_no_secret_can_reach_the_build(dockerfile: str):
    for secret in (".env", "media_edge/.env", "media_edge/worker.env", "media_edge/sts.env", ".git/config"):
        assert not any(secret == path or secret.startswith(f"{path}/") for path in let_through(dockerfile))


@pytest.mark.parametrize("dockerfile", OURS)
def test_every_base_is_pinned_and_all_stand_on_one_debian(dockerfile: str):
    found = stages(ROOT / dockerfile)
    outside = {stage.base for stage in found.values()} - set(found)
    debian = {base for base in outside if DEBIAN.fullmatch(base)}
    assert len(debian) == 1
    assert debian < {stage.base for stage in stages(ROOT / "gpu_handler/Dockerfile").values()}
    for other in outside - debian:
        assert re.fullmatch(r"bluenviron/mediamtx:1\.20\.1@sha256:[0-9a-f]{64}", other)


def test_mediamtx_is_the_version_that_its_configuration_is_written_for():
    written_for = re.search(r"MediaMTX v([0-9.]+)", (ROOT / "media_edge/mediamtx/mediamtx.yml").read_text())
    assert written_for
    assert f"bluenviron/mediamtx:{written_for[1]}@" in (ROOT / "media_edge/mediamtx/Dockerfile").read_text()


@pytest.mark.parametrize("dockerfile", OURS)
def test_a_container_is_not_root_and_has_an_init(dockerfile: str):
    runnable = {name: stage for name, stage in stages(ROOT / dockerfile).items() if stage.entrypoint}
    assert runnable
    for name, stage in runnable.items():
        assert stage.user == "10001:10001", name
        assert stage.entrypoint[:2] == ["tini", "--"], name
        assert stage.health, name


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_secret_is_an_argument_or_a_variable(dockerfile: str):
    declared = [line for line in instructions(ROOT / dockerfile) if line.startswith(("ARG ", "ENV "))]
    assert not [line for line in declared if re.search(r"KEY=|TOKEN=|SECRET=|PASSWORD=", line)]


@pytest.mark.parametrize("dockerfile", OURS)
def test_whatever_is_installed_comes_from_a_lock(dockerfile: str):
    for line in instructions(ROOT / dockerfile):
        if "pip install" in line:
            assert "--require-hashes" in line
        if "lock_environment.sh /opt" in line:
            named = LOCKED.search(line)
            assert named, line
            assert all((ROOT / lock).is_file() for lock in named[1].split())
            assert SECRET in line  # or the build fails where the package index is another one


@pytest.mark.parametrize(
    ("dockerfile", "locks"),
    [
        ("media_edge/worker/Dockerfile", ("worker", "agent")),
        ("local/Dockerfile", ("local", "bootstrap")),
    ],
)
def test_locks_of_one_environment_agree(dockerfile: str, locks: tuple[str, ...]):
    named = LOCKED.search(" ".join(instructions(ROOT / dockerfile)))
    assert named
    assert named[1].split() == [f"locks/{lock}.txt" for lock in locks]
    first, second = (
        dict(
            re.findall(
                r"^([a-z0-9._-]+)==(\S+)", (ROOT / f"locks/{lock}.txt").read_text(), flags=re.MULTILINE
            )
        )
        for lock in locks
    )
    assert {name: first[name] for name in first.keys() & second.keys()} == {
        name: second[name] for name in first.keys() & second.keys()
    }


@pytest.mark.parametrize(
    "script",
    ["media_edge/container_entry.sh", "media_edge/cache/container_start.sh", "setup/lock_environment.sh"],
)
def test_scripts_are_executable_and_shellcheck_has_nothing_to_say(script: str):
    assert (ROOT / script).stat().st_mode & 0o111 == 0o111
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, ROOT / script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
