"""compose.yaml and the Dockerfiles it builds, read as Docker reads them: for tests that have no engine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).resolve().parents[4]
FOLDER = ROOT / "media_edge"
COMPOSE = FOLDER / "compose.yaml"
GPU = FOLDER / "compose.gpu.yaml"
EXAMPLE = FOLDER / ".env.example"

_REFERENCE = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*)(?:(?P<operator>:?-)(?P<default>[^}]*))?\}")
_DURATION = r"^\d+s$"


class Documented(BaseModel):
    """The part of the Compose specification that is used here; nothing else may appear."""

    model_config = ConfigDict(extra="forbid")


class Build(Documented):
    context: Literal[".."] = ".."
    dockerfile: str
    target: str = ""
    args: dict[str, str] = {}


class Health(Documented):
    disable: bool = False
    test: list[str] = []
    interval: Annotated[str, Field(pattern=_DURATION)] = "30s"
    timeout: Annotated[str, Field(pattern=_DURATION)] = "30s"
    start_period: Annotated[str, Field(pattern=_DURATION)] = "0s"
    retries: int = Field(default=3, ge=1, le=10)


class Dependency(Documented):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]
    required: bool = True
    restart: bool = False


class EnvironmentFile(Documented):
    path: str
    required: bool = True


class Aliases(Documented):
    aliases: list[str]


class Device(Documented):
    driver: Literal["nvidia"]
    count: int
    capabilities: list[str]


class Service(Documented):
    image: str
    build: Build | None = None
    platform: str = ""
    profiles: list[Literal["mock", "sts", "remote", "aws", "republish"]] = []
    command: list[str] = []
    environment: dict[str, str] = {}
    env_file: list[EnvironmentFile] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Health | None = None
    ports: list[str] = []
    volumes: list[Annotated[str, Field(pattern=r"^[a-z-]+:/[a-z/-]+$")]] = []
    networks: dict[str, Aliases] = {}
    network_mode: Annotated[str, Field(pattern=r"^$|^service:[a-z-]+$")] = ""
    restart: Literal["unless-stopped", "no"] = "no"
    cap_drop: list[Literal["ALL"]] = []
    security_opt: list[Literal["no-new-privileges:true"]] = []
    stop_grace_period: Annotated[str, Field(pattern=_DURATION)] = "10s"
    deploy: dict[
        Literal["resources"], dict[Literal["reservations"], dict[Literal["devices"], list[Device]]]
    ] = {}


class Compose(Documented):
    name: str
    services: dict[str, Service]
    volumes: dict[str, None]


def references(path: Path) -> dict[str, set[str]]:
    """Every variable that a file takes from .env, and the defaults it gives it."""
    found: dict[str, set[str]] = {}
    for match in _REFERENCE.finditer(path.read_text()):
        found.setdefault(match["name"], set()).add(match["default"] or "")
    return found


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its references resolved, as Compose does: `:-` also where the variable is empty, `-` where it is unset."""

    def value(match: re.Match[str]) -> str:
        given = variables.get(match["name"])
        if given is None or (match["operator"] == ":-" and not given):
            return match["default"] or ""
        return given

    return _REFERENCE.sub(value, text)


def compose(variables: Mapping[str, str] | None = None, *, gpu: bool = False) -> Compose:
    """The file with `variables` from .env; `gpu` lays the second file over it.

    Raises:
        ValidationError: something in it is not of the specification.
    """
    given = variables or {}
    read = _read(COMPOSE, given)
    if gpu:
        read["services"] = _merged(read["services"], _read(GPU, given)["services"])
    return Compose.model_validate({key: value for key, value in read.items() if not key.startswith("x-")})


def _read(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    return _resolved(yaml.safe_load(path.read_text()), variables)


def _resolved(value: Any, variables: Mapping[str, str]) -> Any:
    """As Compose does: the file is read first, so that a resolved value is a string, even an empty one."""
    if isinstance(value, dict):
        return {key: _resolved(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, variables) for each in value]
    return interpolated(value, variables) if isinstance(value, str) else value


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged, commands replaced: nothing else is overridden here."""
    both = base | over
    for key in base.keys() & over.keys():
        if isinstance(base[key], dict):
            both[key] = _merged(base[key], over[key])
    return both


def example() -> dict[str, str]:
    """The variables of .env.example with their values."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@dataclass(slots=True)
class Stage:
    """What an image says of itself, with what its base stages say."""

    base: str
    environment: dict[str, str] = field(default_factory=dict[str, str])
    entrypoint: list[str] = field(default_factory=list[str])
    command: list[str] = field(default_factory=list[str])
    health: list[str] = field(default_factory=list[str])
    user: str = ""
    workdir: str = "/"
    copies: list[tuple[list[str], str]] = field(default_factory=list[tuple[list[str], str]])


def instructions(dockerfile: Path) -> list[str]:
    """Every instruction on one line, without comments."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [" ".join(part.split()) for part in joined.splitlines() if part.strip()]


def stages(dockerfile: Path) -> dict[str, Stage]:
    """Its stages by name, in their order."""
    found: dict[str, Stage] = {}
    now: Stage | None = None
    for line in instructions(dockerfile):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            parent = found.get(base)
            now = (
                Stage(base)
                if parent is None
                else Stage(
                    base,
                    dict(parent.environment),
                    list(parent.entrypoint),
                    list(parent.command),
                    list(parent.health),
                    parent.user,
                    parent.workdir,
                    list(parent.copies),
                )
            )
            found[name or base] = now
        elif now is not None:
            _apply(now, word, rest)
    return found


def _apply(stage: Stage, word: str, rest: str) -> None:
    if word == "ENV":
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            stage.environment[name] = value
    elif word == "ENTRYPOINT":
        stage.entrypoint = json.loads(rest)
    elif word == "CMD":
        stage.command = json.loads(rest)
    elif word == "HEALTHCHECK":
        stage.health = json.loads(rest.partition("CMD ")[2])
    elif word == "USER":
        stage.user = rest
    elif word == "WORKDIR":
        stage.workdir = rest
    elif word == "COPY" and "--from=" not in rest:
        *sources, target = shlex.split(rest)
        stage.copies.append((sources, target))


def stage_of(service: Service) -> Stage:
    """The image that a service runs.

    Raises:
        KeyError: its Dockerfile has no such target.
    """
    if service.build is None:
        return Stage(service.image)
    found = stages(ROOT / service.build.dockerfile)
    return found[service.build.target] if service.build.target else list(found.values())[-1]


def argv_of(service: Service) -> list[str]:
    """What its container runs."""
    stage = stage_of(service)
    return [*stage.entrypoint, *(service.command or stage.command)]


def health_of(service: Service) -> list[str]:
    """The command that tells whether it is healthy, empty where none does."""
    if service.healthcheck is None:
        return stage_of(service).health
    return [] if service.healthcheck.disable else service.healthcheck.test[1:]


def environment_of(service: Service) -> dict[str, str]:
    """The variables of its container."""
    return {**stage_of(service).environment, **service.environment}
