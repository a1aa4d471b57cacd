"""Runs a build script of `setup/` as tests may: from uv's cache, which `make setup` has filled; they ask no registry."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT


def build_offline(script: str, *arguments: str | Path) -> None:
    """Skips the test where the cache lacks a wheel of the lock."""
    done = subprocess.run(
        [ROOT / "setup" / script, *arguments],
        env={**os.environ, "UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if "network was disabled" in done.stderr or "not found in the cache" in done.stderr:
        pytest.skip(f"uv's cache lacks a wheel of the lock: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
