"""How this checkout's own programs are started as processes: same interpreter, same code, no matter the folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local.processes import ProcessSpec

ROOT = Path(__file__).parents[1]
_SOURCES = (ROOT, ROOT / "layers" / "core" / "python")


def python_spec(
    name: str,
    module: str,
    *arguments: str,
    env: Mapping[str, str | None] | None = None,
    stop_timeout_s: float = 10.0,
    niceness: int = 0,
    secret_stdout: bool = False,
) -> ProcessSpec:
    """`python -m module arguments...` of this checkout, `niceness` steps behind everything else on the machine."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([*map(str, _SOURCES), *([inherited] if inherited else [])])
    return ProcessSpec(
        name,
        (*(("nice", "-n", str(niceness)) if niceness else ()), sys.executable, "-m", module, *arguments),
        # SAFEPATH: a folder `local` where the user happens to stand must not become ours.
        env={"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", **(env or {})},
        stop_timeout_s=stop_timeout_s,
        secret_stdout=secret_stdout,
    )
