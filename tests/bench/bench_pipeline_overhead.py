"""What the pipeline costs beside its engines: `python tests/bench/bench_pipeline_overhead.py [--out FILE]` prints JSON.

Engines take a set time and record when they worked for whom. A fragment's overhead is the time from `process` to its
answer in which none of its items was in an engine, less the part of it in which the engine it was on its way to was
busy with others. What is left is the pipeline's own: decoding and encoding audio, guards, checks, hand-overs between
threads, gathering of batches, and waiting for the event loop or the interpreter's lock.

Fragments of 4 s come at random moments (seeded), as often as that many live streams send them, and at least 8 a
second, so that a few streams take no hour to measure. A further row has 40 a second, the load of 160 live streams.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

from gpu_handler.pipeline import Pipeline
from livedub.sts.contract import AudioFormat, Status, StsRequest
from tests.bench.bench_sts_http import milliseconds
from tests.bench.machine_load import Bystanders, machine
from tests.bench.timed_engines import Call, Cost, Mark, Record, request_for, timed_engines

STREAMS = (1, 4, 16, 64)
CLIP_MS = 4_000
ASR, TRANSLATION, TTS = Cost(0.040), Cost(0.010), Cost(0.030)
MAX_BATCH = 16
LEAST_PER_S = 8.0
HEAVY_PER_S = 40.0
WARM_UP = 8
ORDER = ("asr", "translation", "tts")


def busy_s(calls: list[Call], from_s: float, to_s: float) -> float:
    """How long an engine worked between two moments; its calls do not overlap."""
    return sum(max(0.0, min(call.ended_s, to_s) - max(call.started_s, from_s)) for call in calls)


def overhead_s(record: Record, mark: Mark, started_s: float, ended_s: float) -> dict[str, float]:
    """Time of one fragment neither in an engine nor in wait for a busy one, by what it was on its way to."""
    overheads: dict[str, float] = {}
    since_s = started_s
    for engine in ORDER:
        own = next(call for call in record.calls[engine] if mark in call.marks)
        around = [
            call for call in record.calls[engine] if call.ended_s > since_s and call.started_s < own.started_s
        ]
        overheads[engine] = own.started_s - since_s - busy_s(around, since_s, own.started_s)
        since_s = own.ended_s
    overheads["answer"] = ended_s - since_s
    return overheads


async def measure_level(
    streams: int,
    fragments: int,
    audio_format: AudioFormat = AudioFormat.PCM_S16LE,
    least_per_s: float = LEAST_PER_S,
) -> dict[str, Any]:
    """Overhead of `fragments` fragments of `streams` streams."""
    record = Record()
    pipeline = Pipeline(
        timed_engines(record, asr=ASR, translation=TRANSLATION, tts=TTS, max_batch=MAX_BATCH, clip_ms=CLIP_MS)
    )
    pipeline.load()
    marks = [Mark(number % streams, number // streams) for number in range(fragments + WARM_UP)]
    requests = [
        request_for(mark, clip_ms=CLIP_MS, deadline_ms=60_000, audio_format=audio_format) for mark in marks
    ]
    per_s = max(least_per_s, streams * 1_000 / CLIP_MS)
    jitter = random.Random(streams)
    spans: dict[Mark, tuple[float, float]] = {}
    begin_s = time.perf_counter() + 0.05
    bystanders = Bystanders()
    cpu_s = time.process_time()

    async def one(index: int, mark: Mark, asked: StsRequest) -> None:
        at_s = begin_s + (index + jitter.random()) / per_s
        await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
        started_s = time.perf_counter()
        result = await pipeline.process(asked)
        spans[mark] = started_s, time.perf_counter()
        if result.status is not Status.SUCCESS:
            raise RuntimeError(f"{mark}: {result.error}")

    try:
        await asyncio.gather(
            *(one(i, mark, asked) for i, (mark, asked) in enumerate(zip(marks, requests, strict=True)))
        )
    finally:
        pipeline.close()
    cpu_s = time.process_time() - cpu_s
    measured = marks[WARM_UP:]
    overheads = [overhead_s(record, mark, *spans[mark]) for mark in measured]
    return {
        "streams": streams,
        "format": audio_format.value,
        "fragments": fragments,
        "fragments_per_s": round(per_s, 1),
        "overhead_ms": milliseconds([sum(parts.values()) * 1_000 for parts in overheads]),
        "overhead_before_ms_p50": {
            name: round(statistics.median(parts[name] for parts in overheads) * 1_000, 2)
            for name in overheads[0]
        },
        "answer_ms": milliseconds([(spans[mark][1] - spans[mark][0]) * 1_000 for mark in measured]),
        "cpu_ms_per_fragment": round(cpu_s * 1_000 / len(marks), 2),
        "largest_batch": max(len(call.marks) for calls in record.calls.values() for call in calls),
        "cores_used_by_others": bystanders.cores,
    }


def measure(fragments: int = 240, runs: int = 3) -> dict[str, Any]:
    """Every number of streams, the run with the median p95 of each."""
    levels = []
    for streams in STREAMS:
        rows = [asyncio.run(measure_level(streams, fragments)) for _ in range(runs)]
        rows.sort(key=lambda row: row["overhead_ms"]["p95"])
        levels.append({**rows[runs // 2], "p95_of_every_run_ms": [row["overhead_ms"]["p95"] for row in rows]})
    return {
        "what": "pipeline overhead over its engines",
        "machine": machine(),
        "levels": levels,
        "heavy": asyncio.run(measure_level(64, fragments, least_per_s=HEAVY_PER_S)),
        "flac": asyncio.run(measure_level(64, fragments, AudioFormat.FLAC)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fragments", type=int, default=240, help="per run (default 240)")
    parser.add_argument("--runs", type=int, default=3, help="per number of streams (default 3)")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    text = json.dumps(measure(options.fragments, options.runs), indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
