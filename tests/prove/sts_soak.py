"""Eight live streams against one STS service whose engines crash, run out of memory and stall, and whose callers leave.

What may go wrong with a fragment is known beforehand or noted when it happens, so every answer can be judged: a
fragment that nothing befell must be dubbed, whoever shared its batches.

`python -m tests.prove.sts_soak SECONDS` prints the figures as JSON: a process of its own, because pytest keeps every log
record of a test and would look like a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gpu_handler.pipeline import Pipeline
from livedub.sts.contract import Dub, ErrorCode, PartialKind, Status, StsPartial, StsResult
from tests.bench.timed_engines import (
    Call,
    Cost,
    Mark,
    Record,
    mark_heard,
    mark_in,
    request_for,
    timed_engines,
)
from tests.contract.sts_rig import RunningService, service

STREAMS = 8
CLIP_MS = 1_000
EVERY_S = 0.4
IN_FLIGHT = 3
DEADLINE_MS = 4_000
ANSWER_BOUND_S = DEADLINE_MS / 1_000 + 3
MAX_BATCH = 8
KEPT_S = 2.0
"""How long callers keep an idle connection: less than the service of the rig does, so that they never meet a dead one."""
PROCESS, STREAM = "/api/v1/sts/process", "/api/v1/sts/stream"
_ENGINES = ("asr", "translation", "tts")
_REMEMBERED = 64
_BEAT_S = 0.1


@dataclass(slots=True)
class Chances:
    """How often what happens: per fragment (poison, leaving) or per engine call."""

    poison: float = 0.02
    leaves: float = 0.05
    crash: float = 0.01
    out_of_memory: float = 0.015
    stall: float = 0.012
    long_stall: float = 0.0005


class Trouble:
    """Decides what befalls engine calls, and remembers whom it may cost their dub."""

    def __init__(self, seed: int, chances: Chances) -> None:
        self.happened: Counter[str] = Counter()
        self._seed = seed
        self._chances = chances
        self._random = {name: random.Random(f"{seed} {name}") for name in _ENGINES}
        self._lock = threading.Lock()
        self._alone: set[Mark] = set()

    def poisoned(self, mark: Mark) -> str:
        """The engine that this fragment crashes whenever it meets it; empty for the healthy."""
        chance = random.Random(f"{self._seed} {mark}")
        return chance.choice(_ENGINES) if chance.random() < self._chances.poison else ""

    def excused(self, mark: Mark) -> bool:
        """Whether a call failed in which the fragment was alone; asked once per fragment."""
        with self._lock:
            found = mark in self._alone
            self._alone.discard(mark)
            return found

    def disturb(self, engine: str, marks: Sequence[Mark]) -> None:
        """Called by every engine in every call."""
        if any(self.poisoned(mark) == engine for mark in marks):
            self.happened["poison"] += 1
            raise ValueError("an input this engine cannot take")
        drawn, chances = self._random[engine].random(), self._chances
        for kind, chance in (
            ("crash", chances.crash),
            ("out_of_memory", chances.out_of_memory),
            ("stall", chances.stall),
            ("long_stall", chances.long_stall),
        ):
            if drawn < chance:
                self._do(kind, marks)
                return
            drawn -= chance

    def _do(self, kind: str, marks: Sequence[Mark]) -> None:
        self.happened[kind] += 1
        if kind in {"stall", "long_stall"}:
            time.sleep(0.5 if kind == "stall" else DEADLINE_MS / 1_000)
            return
        if len(marks) == 1:
            with self._lock:
                self._alone.add(marks[0])
        raise RuntimeError("CUDA out of memory" if kind == "out_of_memory" else "the engine crashed")


class OrderWatch(Record):
    """Notes fragments that an engine met before an earlier one of their stream; keeps little."""

    def __init__(self) -> None:
        super().__init__()
        self.overtaken: list[str] = []
        self.met: Counter[str] = Counter()
        self._newest: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], deque[int]] = {}

    def add(self, engine: str, call: Call) -> None:
        for mark in call.marks:
            place = engine, mark.stream
            seen = self._seen.setdefault(place, deque(maxlen=_REMEMBERED))
            if mark.number in seen:
                continue
            seen.append(mark.number)
            self.met[engine] += 1
            if mark.number < self._newest.get(place, -1):
                self.overtaken.append(f"{engine} met {mark} after number {self._newest[place]}")
            self._newest[place] = max(mark.number, self._newest.get(place, -1))


@dataclass(slots=True)
class Sample:
    """The process at one moment."""

    at_s: float
    rss_mb: float
    threads: int
    descriptors: int


@dataclass(slots=True)
class Soak:
    """What came of it; `wrong` says what should not have been."""

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    answer_ms: list[int] = field(default_factory=list)
    longest_pause_s: float = 0.0
    """How long this process, service and callers alike, stood still at a stretch: none of it is the service's time."""

    def growth_mb(self) -> float:
        """Mean memory of the last quarter over that of the second: the first one warms up."""
        quarter = len(self.samples) // 4
        second, last = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        return sum(one.rss_mb for one in last) / len(last) - sum(one.rss_mb for one in second) / len(second)


def sample(started_s: float) -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        at_s=round(time.monotonic() - started_s, 1),
        rss_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        threads=threading.active_count(),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
    )


class Caller:
    """One stream: sends a fragment every `EVERY_S`, judges every answer."""

    def __init__(self, stream: int, http: httpx.AsyncClient, trouble: Trouble, soak: Soak, seed: int) -> None:
        self._stream = stream
        self._http = http
        self._trouble = trouble
        self._soak = soak
        self._random = random.Random(f"{seed} caller {stream}")
        self._path = STREAM if stream % 2 else PROCESS
        self._targets = ("en", "fr", "de")[: 1 + stream % 3]

    async def run(self, until_s: float, leaves: float) -> None:
        """Until the time is up and every answer is there."""
        slots = asyncio.Semaphore(IN_FLIGHT)
        await asyncio.sleep(self._random.random() * EVERY_S)
        async with asyncio.TaskGroup() as group:
            number = 0
            while time.monotonic() < until_s:
                await slots.acquire()
                group.create_task(self._send(Mark(self._stream, number), slots, leaves))
                number += 1
                await asyncio.sleep(EVERY_S * (0.75 + 0.5 * self._random.random()))

    async def _send(self, mark: Mark, slots: asyncio.Semaphore, leaves: float) -> None:
        self._soak.sent += 1
        leaves_after_s = self._random.random() * 0.3 if self._random.random() < leaves else None
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(leaves_after_s or ANSWER_BOUND_S):
                partials, result = await self._answer(mark)
        except TimeoutError:
            if leaves_after_s is None:
                self._soak.wrong.append(f"{mark} got no answer within {ANSWER_BOUND_S} s")
            self._soak.outcomes["lost" if leaves_after_s is None else "left"] += 1
            self._trouble.excused(mark)
            return
        except httpx.HTTPError as error:
            self._soak.wrong.append(f"{mark} lost its connection: {error!r}")
            self._soak.outcomes["lost"] += 1
            return
        finally:
            slots.release()
        self._soak.answer_ms.append(round((time.monotonic() - started_s) * 1_000))
        self._judge(mark, partials, result)

    async def _answer(self, mark: Mark) -> tuple[list[StsPartial], StsResult]:
        asked = request_for(mark, clip_ms=CLIP_MS, deadline_ms=DEADLINE_MS, targets=self._targets)
        async with self._http.stream("POST", self._path, content=asked.model_dump_json()) as answer:
            lines = [line async for line in answer.aiter_lines()]
        *partials, last = lines
        for line in partials:
            if "status" in json.loads(line):
                self._soak.wrong.append(f"{mark} was answered twice")
        return [StsPartial.model_validate_json(line) for line in partials], StsResult.model_validate_json(
            last
        )

    def _judge(self, mark: Mark, partials: list[StsPartial], result: StsResult) -> None:
        excused = self._trouble.excused(mark)
        poisoned = self._trouble.poisoned(mark)
        outcome = result.status.value if result.error is None else result.error.code.value
        self._soak.outcomes[outcome] += 1
        problems = list(self._of_identity(mark, partials, result))
        if result.status is Status.SUCCESS and poisoned:
            problems.append(f"was dubbed although the {poisoned} engine cannot take it")
        late = result.error is not None and result.error.code in {ErrorCode.TIMEOUT, ErrorCode.QUEUE_FULL}
        if result.status is not Status.SUCCESS and not (excused or poisoned or late):
            problems.append(f"failed for no reason of its own: {result.error}")
        self._soak.wrong += [f"{mark} {problem}" for problem in problems]

    def _of_identity(self, mark: Mark, partials: list[StsPartial], result: StsResult) -> list[str]:
        """Whether all of the answer is this fragment's, once."""
        problems = []
        if {result.fragment_id, *(partial.fragment_id for partial in partials)} != {mark.fragment_id}:
            problems.append(f"was answered as {result.fragment_id}")
        texts = [partial for partial in partials if partial.kind is PartialKind.TEXT]
        heard = [dub for partial in partials if partial.kind is PartialKind.AUDIO for dub in partial.dubs]
        for what, dubs in (("partials", heard), ("result", result.dubs)):
            languages = [dub.language for dub in dubs]
            if len(set(languages)) != len(languages) or not set(languages) <= set(self._targets):
                problems.append(f"has the languages {languages} in its {what}")
            problems += [f"has a dub of {other}" for dub in dubs if (other := _said(dub)) != mark]
        if len(texts) > 1:
            problems.append(f"has {len(texts)} text partials")
        if result.status is Status.SUCCESS and {dub.language for dub in result.dubs} != set(self._targets):
            problems.append("lacks a language in success")
        return problems


def _said(dub: Dub) -> Mark | str:
    if dub.audio is None:
        return "silence"
    return mark_heard(dub.audio) if mark_in(dub.translated_text) == mark_heard(dub.audio) else "two fragments"


async def soak(seconds: float, *, seed: int = 4, chances: Chances | None = None) -> dict[str, Any]:
    """Run it; the figures, with `wrong` empty where all is well."""
    chances = chances or Chances()
    trouble, watch, figures = Trouble(seed, chances), OrderWatch(), Soak()
    costs = {"asr": Cost(0.030), "translation": Cost(0.008), "tts": Cost(0.020)}
    engines = timed_engines(watch, **costs, max_batch=MAX_BATCH, clip_ms=CLIP_MS, disturb=trouble.disturb)
    pipeline = Pipeline(engines)
    started_s = time.monotonic()
    before = sample(started_s)
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=STREAMS * IN_FLIGHT, keepalive_expiry=KEPT_S
    )
    async with (
        service(pipeline, max_concurrency=16, queue_size=32) as running,
        httpx.AsyncClient(
            base_url=running.url, timeout=ANSWER_BOUND_S, limits=limits, trust_env=False
        ) as http,
    ):
        watching = asyncio.create_task(_watch(figures, started_s, every_s=max(0.5, seconds / 240)))
        pausing = asyncio.create_task(_watch_pauses(figures))
        callers = [Caller(stream, http, trouble, figures, seed) for stream in range(STREAMS)]
        try:
            await asyncio.gather(*(caller.run(started_s + seconds, chances.leaves) for caller in callers))
            await _quiet(running, figures)
        finally:
            for task in (watching, pausing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    figures.wrong += watch.overtaken
    after = sample(started_s)
    answers = sorted(figures.answer_ms)
    return {
        "seconds": round(time.monotonic() - started_s),
        "streams": STREAMS,
        "seed": seed,
        "fragments": figures.sent,
        "outcomes": dict(figures.outcomes),
        "trouble": dict(trouble.happened),
        "met_by_engines": dict(watch.met),
        "answer_ms": {
            "p50": answers[len(answers) // 2],
            "p95": answers[len(answers) * 95 // 100],
            "max": answers[-1],
        },
        "longest_pause_s": round(figures.longest_pause_s, 2),
        "wrong": figures.wrong[:20],
        "wrong_count": len(figures.wrong),
        "memory": {
            "growth_mb": round(figures.growth_mb(), 2),
            "rss_mb": [
                round(one.rss_mb, 1) for one in figures.samples[:: max(1, len(figures.samples) // 20)]
            ],
        },
        "threads": _range([one.threads for one in figures.samples], before.threads, after.threads),
        "descriptors": _range(
            [one.descriptors for one in figures.samples], before.descriptors, after.descriptors
        ),
    }


async def _watch(figures: Soak, started_s: float, *, every_s: float) -> None:
    while True:
        figures.samples.append(sample(started_s))
        await asyncio.sleep(every_s)


async def _watch_pauses(figures: Soak) -> None:
    while True:
        before_s = time.monotonic()
        await asyncio.sleep(_BEAT_S)
        figures.longest_pause_s = max(figures.longest_pause_s, time.monotonic() - before_s - _BEAT_S)


async def _quiet(running: RunningService, figures: Soak) -> None:
    """Whoever left has left nothing behind: neither a place in the queue nor one at work."""
    try:
        await asyncio.wait_for(running.metrics.reach(waiting=0, running=0), ANSWER_BOUND_S)
    except TimeoutError:
        figures.wrong.append("fragments are left in the service though nobody waits for any")


def _range(values: list[int], before: int, after: int) -> dict[str, int]:
    quarter = len(values) // 4
    return {
        "before": before,
        "most_in_the_second_quarter": max(values[quarter : 2 * quarter]),
        "most_in_the_last_quarter": max(values[-quarter:]),
        "after": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(soak(options.seconds, seed=options.seed))))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
