"""What importing each Lambda handler costs in a fresh process: `python tests/bench/bench_function_import.py`.

Prints JSON: milliseconds from the first line of a new interpreter to the imported handler, without the interpreter's
own start; the median and the worst of several runs, and how many modules were loaded.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = 7
_BOUND_S = 60
_PROBE = """
import sys, time
sys.path[:0] = sys.argv[1:]
begun = time.perf_counter()
import handler
took_ms = (time.perf_counter() - begun) * 1000
print(took_ms, len(sys.modules))
"""


def import_once(function: str) -> tuple[float, int]:
    """Milliseconds and modules of one import, as Lambda does it: the function's folder and the layer on the path."""
    folder = REPOSITORY / "functions" / function
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(folder), str(REPOSITORY / "layers" / "core" / "python")],
        capture_output=True,
        text=True,
        timeout=_BOUND_S,
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin", "AWS_LAMBDA_FUNCTION_NAME": function, "LAMBDA_TASK_ROOT": str(folder)},
    )
    took_ms, modules = done.stdout.split()
    return float(took_ms), int(modules)


def measure(runs: int = RUNS) -> dict[str, dict[str, Any]]:
    """By function. A first run, which writes compiled files, is not counted: a deployment ships them."""
    result: dict[str, dict[str, Any]] = {}
    for path in sorted((REPOSITORY / "functions").glob("*/handler.py")):
        function = path.parent.name
        import_once(function)
        measured = [import_once(function) for _ in range(runs)]
        result[function] = {
            "median_ms": round(statistics.median(took_ms for took_ms, _ in measured), 1),
            "worst_ms": round(max(took_ms for took_ms, _ in measured), 1),
            "modules": measured[0][1],
        }
    return result


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))  # noqa: T201 - its result
