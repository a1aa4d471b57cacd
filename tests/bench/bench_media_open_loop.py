"""Reads from the media cache at random instants: `python tests/bench/bench_media_open_loop.py [--out FILE]`, JSON.

2,000 requests a second, whatever became of those before (Poisson), over 1,000 warm HTTPS connections, for objects of
40 kB. A latency runs from the instant at which a request was due. Each round is on the same running host.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.media_bench_rig import (
    Load,
    allow_many_files,
    caddy,
    hurry,
    measured,
    median,
    printed,
    stored_objects,
    wrong,
)
from tests.integration.media_cache.media_rig import MediaHost

CONNECTIONS = 1_000
RATE_HZ = 2_000
OBJECTS = 1_000
OBJECT_BYTES = 40_000


def measure(rounds: int = 3, seconds: float = 8.0) -> dict[str, Any]:
    """`rounds` times the same."""
    allow_many_files()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        media = stack.enter_context(MediaHost(folder))
        corpus = stored_objects(media.data_dir, folder / "objects", count=OBJECTS, size_bytes=OBJECT_BYTES)
        host = stack.enter_context(caddy(media, folder / "caddy", [], media.run_dir / "upload.sock"))
        figures: list[dict[str, Any]] = []
        for _ in range(rounds):
            with Load(
                "open",
                host.address,
                host.roots,
                corpus.requests,
                connections=CONNECTIONS,
                rate=RATE_HZ,
                duration=f"{seconds}s",
            ) as load:
                hurry(load.pid, *host.pids)
                figures.append(measured(load, host.pids))
    return {
        "what": f"GET {OBJECT_BYTES} bytes, {RATE_HZ} a second over {CONNECTIONS} warm connections, open loop",
        "wrong": wrong(figures, 200),
        "medians": {
            figure: median(figures, figure)
            for figure in (
                "per_second",
                "p50_ms",
                "p99_ms",
                "p999_ms",
                "max_ms",
                "dispatched_late_ms",
                "server_cpu_us",
                "cores_used_by_others",
            )
        },
        "rounds": figures,
    }


if __name__ == "__main__":
    printed(measure, __doc__, rounds=(int, 3, "rounds"), seconds=(float, 8.0, "length of a round"))
