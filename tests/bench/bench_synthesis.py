"""`cdk synth` of every stack with the artefacts of `make build`: `python tests/bench/bench_synthesis.py`.

The environment `local`, whose images bring what only the internet has. Two runs, each into a folder of its own as a first
one would be; the second finds compiled files and the page cache warm, as whoever deploys for the second time does. Where
the kernel lets us, without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "layers" / "core" / "python")]

from livedub.errors import MissingPrerequisiteError  # noqa: E402
from tests.bench.machine_load import Bystanders, cpu_seconds, machine  # noqa: E402

CDK = REPOSITORY / "infra/node_modules/.bin/cdk"
NEEDED = (
    "build/layers/dependencies",
    "build/layers/library",
    "build/layers/media-cache",
    "build/media-cache-host/bin/caddy",
)
_ALONE = ["unshare", "--user", "--map-root-user", "--net"]
_BOUND_S = 300


def check_built() -> None:
    """See that there is what is deployed.

    Raises:
        MissingPrerequisiteError: there is not.
    """
    missing = [
        name for name in (str(CDK.relative_to(REPOSITORY)), *NEEDED) if not (REPOSITORY / name).exists()
    ]
    if missing:
        raise MissingPrerequisiteError(f"{', '.join(missing)} is missing.", remedy="Run make build.")


def without_network() -> list[str]:
    """What runs a command without a network, where this machine allows it."""
    if shutil.which(_ALONE[0]) is None:
        return []
    allowed = subprocess.run([*_ALONE, "true"], capture_output=True, timeout=10, check=False).returncode == 0
    return _ALONE if allowed else []


def synthesize(out: Path, prefix: list[str]) -> dict[str, Any]:
    """One synthesis by the cdk command."""
    others, began_s, spent_s = Bystanders(), time.perf_counter(), cpu_seconds()
    subprocess.run(
        [*prefix, str(CDK), "synth", "--quiet", "-c", "environment=local", "--output", str(out)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PATH": f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'layers/core/python'}",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        },
        stdout=subprocess.DEVNULL,
        timeout=_BOUND_S,
        check=True,
    )
    return {
        "wall_s": round(time.perf_counter() - began_s, 2),
        "cpu_s": round(cpu_seconds() - spent_s, 2),
        "others_cores": others.cores,
        "stacks": len(list(out.glob("*.template.json"))),
    }


def measure() -> dict[str, Any]:
    """Both runs."""
    check_built()
    prefix = without_network()
    with tempfile.TemporaryDirectory(prefix="livedub-synthesis-") as scratch:
        first = synthesize(Path(scratch) / "first", prefix)
        second = synthesize(Path(scratch) / "second", prefix)
    return {"machine": machine(), "offline": bool(prefix), "first": first, "second": second}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))  # noqa: T201 - its result
