"""Proofs keep what they measured, with the commit and the machine they measured it on."""

import json
import os
import platform
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.rig import REPOSITORY, Rig

RESULTS = Path(__file__).parent / "results"


@pytest.fixture
def keep() -> Callable[[str, dict[str, Any]], None]:
    """Write a proof's figures to `results/<name>.json`."""

    def write(name: str, figures: dict[str, Any]) -> None:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout.strip()
        result = {
            "commit": commit,
            "utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {
                "processor": _processor(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "load_average": [round(load, 2) for load in os.getloadavg()],
            },
            "figures": figures,
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")

    return write


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig(tmp_path) as running:
        yield running


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
