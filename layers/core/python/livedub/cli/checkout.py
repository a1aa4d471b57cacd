"""Starts the programs of a checkout that are not part of the installed package: `python -m local` and its like."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from livedub.errors import MissingPrerequisiteError

_ROOT_OF_CHECKOUT = 5
"""layers/core/python/livedub/cli/checkout.py lies that many folders deep."""


def run_local(command: str, arguments: list[str], *, root: Path | None = None) -> NoReturn:
    """Become `python -m local COMMAND`, so that Ctrl-C and the exit code are its own.

    Raises:
        MissingPrerequisiteError: this is no checkout, but an installed package.
    """
    run_module("local", [command, *arguments], command=command, root=root)


def run_module(module: str, arguments: list[str], *, command: str, root: Path | None = None) -> NoReturn:
    """Become `python -m MODULE ARGUMENTS` of this checkout; `command` is what the user typed.

    Raises:
        MissingPrerequisiteError: this is no checkout, but an installed package.
    """
    checkout = root or Path(__file__).resolve().parents[_ROOT_OF_CHECKOUT]
    if not (checkout / "local" / "__main__.py").is_file():
        raise MissingPrerequisiteError(
            f"livedub {command} needs the local stack, which is part of the repository and not of the package.",
            remedy=f"Clone the repository, run make setup there and then .venv/bin/livedub {command}.",
        )
    inherited = os.environ.get("PYTHONPATH", "")
    sources = [
        str(checkout),
        str(checkout / "layers" / "core" / "python"),
        *([inherited] if inherited else []),
    ]
    # SAFEPATH: a folder `local` where the user happens to stand must not become ours.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources), "PYTHONSAFEPATH": "1"}
    argv = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - an argv list, no shell
