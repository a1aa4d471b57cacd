"""`livedub models`: the model weights of the speech engines; fetched, checked, and what their licences ask."""

from __future__ import annotations

import os
import sys
from enum import Enum
from importlib.util import find_spec
from typing import Annotated, NoReturn

import typer

from livedub.errors import MissingPrerequisiteError

models = typer.Typer(
    no_args_is_help=True, help="Show, fetch and check the model weights of the speech engines."
)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; see the list.")]


class EngineSet(str, Enum):
    """Whose models are meant where none is named."""

    CPU = "cpu"
    GPU = "gpu"
    MOCK = "mock"


ProfileOption = Annotated[
    EngineSet | None, typer.Option("--profile", help="Engine set whose models are meant (STS_PROFILE).")
]


@models.command("list")
def list_models(names: Names = None) -> None:
    """What there is: here or not, how its sha256 is known, size, engine sets that need it, licence, purpose."""
    _become("list", names, None)


@models.command()
def fetch(
    names: Names = None,
    profile: ProfileOption = None,
    *,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin",
            help="Measure models whose sha256 nobody has recorded yet, and write locks/models-hub.json for you to review.",
        ),
    ] = False,
) -> None:
    """Fetch models into STS_MODEL_DIR, checked by sha256; an interrupted fetch goes on where it stopped.

    Without names: what the engine set cannot run without.
    """
    _become("fetch", names, profile, *(["--pin"] if pin else []))


@models.command()
def verify(names: Names = None, profile: ProfileOption = None) -> None:
    """Hash every file of fetched models and compare it with the registry."""
    _become("verify", names, profile)


@models.command()
def licences(names: Names = None) -> None:
    """Licence, commercial use and obligations of every model."""
    _become("licences", names, None)


def _become(action: str, names: list[str] | None, profile: EngineSet | None, *options: str) -> NoReturn:
    """Become `python -m gpu_handler models ...`, so that Ctrl-C and the exit code are its own.

    Raises:
        MissingPrerequisiteError: the speech engines' package is not installed.
    """
    if find_spec("gpu_handler") is None:
        raise MissingPrerequisiteError(
            "gpu_handler is not installed.", remedy="Run make setup in a checkout of the repository."
        )
    chosen = ["--profile", profile.value] if profile else []
    argv = [sys.executable, "-m", "gpu_handler", "models", *chosen, *options, action, *(names or ())]
    os.execv(sys.executable, argv)  # noqa: S606 - an argv list, no shell
