"""What batching across streams gains: `python tests/bench/bench_pipeline_batching.py [--out FILE]` prints JSON.

Sixteen streams with two fragments under way each, as a live stream has, go through engines whose batch of any size
takes 1.5 times as long as one item. The peer is the same pipeline around the same engines with `max_batch` 1. The
batched run keeps deadlines of 4 s; the unbatched one would miss them all, so it has a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

from gpu_handler.pipeline import Pipeline
from livedub.sts.contract import Status
from tests.bench.bench_sts_http import milliseconds
from tests.bench.machine_load import Bystanders, machine
from tests.bench.timed_engines import Cost, Mark, Record, mark_heard, request_for, timed_engines

STREAMS = 16
IN_FLIGHT = 2
CLIP_MS = 4_000
ASR, TRANSLATION, TTS = Cost(0.160), Cost(0.060), Cost(0.120)
MAX_BATCH = 16
DEADLINE_MS = 4_000
LONG_DEADLINE_MS = 60_000


async def throughput(max_batch: int, deadline_ms: int, seconds: float) -> dict[str, Any]:
    """Fragments answered in time per second, every stream sending its next as soon as one is answered."""
    record = Record()
    pipeline = Pipeline(
        timed_engines(record, asr=ASR, translation=TRANSLATION, tts=TTS, max_batch=max_batch, clip_ms=CLIP_MS)
    )
    pipeline.load()
    answers_ms: list[float] = []
    failures: list[str] = []
    bystanders = Bystanders()
    began_s = time.perf_counter()

    async def send(stream: int, first: int) -> None:
        number = first
        while time.perf_counter() - began_s < seconds:
            mark = Mark(stream, number)
            asked = request_for(mark, clip_ms=CLIP_MS, deadline_ms=deadline_ms)
            started_s = time.perf_counter()
            result = await pipeline.process(asked)
            ended_s = time.perf_counter()
            if result.status is not Status.SUCCESS or result.dubs[0].audio is None:
                failures.append(str(result.error))
            elif mark_heard(result.dubs[0].audio) != mark:
                failures.append(f"{mark} was answered with another fragment's dub")
            elif ended_s - began_s <= seconds:
                answers_ms.append((ended_s - started_s) * 1_000)
            number += IN_FLIGHT

    try:
        await asyncio.gather(
            *(send(stream, first) for stream in range(STREAMS) for first in range(IN_FLIGHT))
        )
    finally:
        pipeline.close()
    sizes = {
        engine: round(statistics.mean(len(call.marks) for call in calls), 1)
        for engine, calls in record.calls.items()
    }
    return {
        "max_batch": max_batch,
        "deadline_ms": deadline_ms,
        "fragments_per_s": round(len(answers_ms) / seconds, 2),
        "answer_ms": milliseconds(answers_ms),
        "mean_batch": sizes,
        "failed": len(failures),
        "first_failure": failures[0] if failures else "",
        "cores_used_by_others": bystanders.cores,
    }


def measure(seconds: float = 8.0, runs: int = 3) -> dict[str, Any]:
    """Batched against unbatched in turn, and the run with the median gain."""
    rows = []
    for _ in range(runs):
        batched = asyncio.run(throughput(MAX_BATCH, DEADLINE_MS, seconds))
        unbatched = asyncio.run(throughput(1, LONG_DEADLINE_MS, seconds))
        gain = round(batched["fragments_per_s"] / unbatched["fragments_per_s"], 2)
        rows.append({"gain": gain, "batched": batched, "unbatched": unbatched})
    rows.sort(key=lambda row: row["gain"])
    return {
        "what": "throughput of 16 streams, batched over unbatched",
        "machine": machine(),
        "gain_of_every_run": [row["gain"] for row in rows],
        **rows[runs // 2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="per run (default 8)")
    parser.add_argument("--runs", type=int, default=3, help="default 3")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    text = json.dumps(measure(options.seconds, options.runs), indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
