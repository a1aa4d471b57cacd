"""Containers without an engine: what an image would hold, below a folder, and its process with the container's variables.

Each image's Python environment is built by the script that its Dockerfile runs, its files are where COPY puts them, entry
point, command, variables and health check are those of Dockerfile and compose.yaml. Four things differ: absolute paths
begin with the folder, ports are free ones, names of other containers are this machine, and there is no init.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.ports import free_ports
from local.processes import ChildProcess, ProcessSpec, Supervisor
from tests.unit.media_edge.containers.compose_file import (
    ROOT,
    Service,
    argv_of,
    compose,
    environment_of,
    health_of,
    instructions,
    stage_of,
    stages,
)

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PORTS = (1935, 8000, 8443, 9000, 9100, 9996)
HOSTS = ("media-cache", "minio", "sts")
OWN_FOLDERS = ("app", "opt/livedub", "opt/aws-lambda-rie", "var/lib", "run/livedub", "models")
"""Paths of an image that are ours; every other one is the machine's."""

INIT = ["tini", "--"]
NOBODY = "nobody"
AS_NOBODY = (
    ("setpriv", f"--reuid={NOBODY}", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL", "--")
    if os.geteuid() == 0
    else ()
)
"""A container's user is not root. Postgres wants it to have a name, which 10001 has in the image alone."""

_BUILD_TIMEOUT_S = 400
_HEALTHY_S = 120.0
_HEALTH_CHECK_S = 20.0
_BETWEEN_CHECKS_S = 0.3
_LOCKED = re.compile(r"lock_environment\.sh (/opt/livedub) ((?:locks/[a-z-]+\.txt ?)+)")
_LINK = re.compile(r"ln -s (/usr/\S+) (/opt/livedub/\S+)")
_HOME = re.compile(r"useradd .*?--home-dir (\S+)")
_FOLDERS = re.compile(r"install -d ((?:-[a-z] \S+ )*)((?:/\S+ ?)+)")
_OURS = re.compile(rf"(?<![\w.-])/(?=(?:{'|'.join(OWN_FOLDERS)})(?![\w-]))")


@dataclass(slots=True)
class Images:
    """Built images, each once: by Dockerfile and target."""

    folder: Path
    _built: dict[tuple[str, str], Path] = field(default_factory=dict[tuple[str, str], Path])

    def root_of(self, service: Service) -> Path:
        """The folder that stands for the image's `/`.

        Raises:
            CalledProcessError: a step of its Dockerfile failed.
        """
        key = (_dockerfile(service), service.build.target if service.build else "")
        if key not in self._built:
            root = self.folder / f"image-{len(self._built)}"
            _build(root, ROOT / key[0], key[1] or list(stages(ROOT / key[0]))[-1])
            self._built[key] = root
        return self._built[key]


def _build(root: Path, dockerfile: Path, target: str) -> None:
    lines = " ".join(instructions(dockerfile))
    locked = _LOCKED.search(lines)
    assert locked, f"{dockerfile} builds no environment"
    _install(root / "opt/livedub", locked[2].split())
    for source, link in _LINK.findall(lines):
        (root / link.lstrip("/")).symlink_to(source)
    for _, made in _FOLDERS.findall(lines):
        for place in made.split():
            (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            _give(root / place.lstrip("/"))
    found = stages(dockerfile)
    # `orchestration` copies what the stage `assembly` made of the checkout.
    copied = found["assembly" if target == "orchestration" else target].copies
    for sources, place in copied:
        if place.startswith("/app"):
            _copy(sources, root / place.lstrip("/"), into=place.endswith("/") or len(sources) > 1)
    if target == "orchestration":
        _synthesize(root)


def _give(folder: Path) -> None:
    """Make the containers' user the owner of a folder and of all in it, as the image or Docker does."""
    if AS_NOBODY:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, NOBODY, "nogroup")


def _install(environment: Path, locks: list[str]) -> None:
    subprocess.run(
        [ROOT / "setup/lock_environment.sh", environment, *locks], check=True, timeout=_BUILD_TIMEOUT_S
    )


def _copy(sources: list[str], target: Path, *, into: bool) -> None:
    """What COPY does with files and folders."""
    for source in sources:
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            (target if into else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)


def _synthesize(root: Path) -> None:
    """The steps of the stage `assembly` that do more than copy."""
    app = root / "app"
    (app / ".venv").symlink_to(root / "opt/livedub")
    subprocess.run(
        [".venv/bin/python", "-c", "from local.aws.assembly import ensure_assembly; ensure_assembly()"],
        cwd=app,
        env={
            **os.environ,
            "PATH": f"{root / 'opt/livedub/bin'}:{SYSTEM_PATH}",
            "PYTHONPATH": f"{app}:{app / 'layers/core/python'}",
        },
        check=True,
        timeout=_BUILD_TIMEOUT_S,
    )
    _give(app / "build")
    # The one file that comes out of another package's wheel, and is the same in this checkout.
    shutil.copy(ROOT / ".tools/aws-lambda-rie", root / "opt/aws-lambda-rie")


class Containers:
    """The containers of one compose.yaml on this machine.

    Args:
        images: what they run.
        supervisor: ends them.
        volumes: a folder for each volume; those of two containers are the same where the volume is.
        variables: of .env.
    """

    def __init__(
        self,
        images: Images,
        supervisor: Supervisor,
        volumes: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.services = compose(variables).services
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.volumes = volumes
        self._images = images
        self._supervisor = supervisor

    def volume(self, name: str) -> Path:
        """The folder of a volume that a container has used."""
        return self.volumes / name

    def _fill_volumes(self, service: Service) -> None:
        """A volume that is used for the first time holds what the image has at its place."""
        for volume in service.volumes:
            name, _, place = volume.partition(":")
            if not self.volume(name).exists():
                shutil.copytree(self._images.root_of(service) / place.lstrip("/"), self.volume(name))
                _give(self.volume(name))

    async def start(self, name: str, **besides: str) -> ChildProcess:
        """Start a service and wait until its health check succeeds, where it has one.

        Raises:
            ProcessError: it ended, or was not healthy in time.
        """
        service = self.services[name]
        self._fill_volumes(service)
        environment = self._environment(name, besides)
        health = [self._here(name, argument) for argument in health_of(service)]

        async def healthy(_child: ChildProcess) -> None:
            while not await asyncio.to_thread(_succeeds, health, environment, folder):  # noqa: ASYNC110 - it is a command
                await asyncio.sleep(_BETWEEN_CHECKS_S)

        # Which is also where Python looks for modules first.
        folder = Path(self._here(name, stage_of(service).workdir))
        argv = [*AS_NOBODY, *(self._here(name, argument) for argument in _without_init(argv_of(service)))]
        # Nothing of this process's own environment gets in.
        alone = {**dict.fromkeys(os.environ), **environment}
        grace_s = float(service.stop_grace_period.rstrip("s"))
        return await self._supervisor.start(
            ProcessSpec(name, argv, env=alone, cwd=folder, stop_timeout_s=grace_s),
            ready=healthy if health else None,
            ready_timeout_s=_HEALTHY_S,
        )

    def _environment(self, name: str, besides: Mapping[str, str]) -> dict[str, str]:
        given = environment_of(self.services[name])
        given["PATH"] = given["PATH"].replace("$PATH", SYSTEM_PATH)
        # Defaults that stand in no file, for the ports to be free ones.
        given.setdefault("RELAY_PORT", "9996")
        home = _HOME.search(" ".join(instructions(ROOT / _dockerfile(self.services[name]))))
        given["HOME"] = home[1] if home else "/"
        return {variable: self._here(name, value) for variable, value in {**given, **besides}.items()}

    def _here(self, name: str, text: str) -> str:
        """`text` of a container as it is on this machine."""
        service = self.services[name]
        for volume in service.volumes:
            volume_name, _, place = volume.partition(":")
            text = re.sub(rf"(?<![\w.-]){place}(?![\w-])", str(self.volume(volume_name)), text)
        # What is on no volume is the image's; this machine's own temporary folders stay what they are.
        text = _OURS.sub(f"{self._images.root_of(service)}/", text)
        for port, free in self.ports.items():
            text = re.sub(rf"(?<=:){port}\b|^{port}$", str(free), text)
        for host in HOSTS:
            text = re.sub(rf"(?<=//){host}(?=:)|^{host}$", "localhost", text)
        return text


def _without_init(argv: list[str]) -> list[str]:
    """The init is a container's first process, whose end ends all; here it would hide its child from who ends it."""
    assert argv[:2] == INIT
    return argv[2:]


def _dockerfile(service: Service) -> str:
    assert service.build is not None, "only images that are built here can be run here"
    return service.build.dockerfile


def _succeeds(argv: list[str], environment: Mapping[str, str], folder: Path) -> bool:
    try:
        done = subprocess.run(
            argv,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=_HEALTH_CHECK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
