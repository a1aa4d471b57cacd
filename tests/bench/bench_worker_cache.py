"""What a media cache costs and saves a fragment in the stream worker: `python tests/bench/bench_worker_cache.py [--out FILE]`.

Prints JSON. An STS that takes `VOICE_MS` from the words to the sound, in two languages; beside it no cache, a real host
that has every line, one that refuses connections, and one that takes them and says nothing; the last two also with an
STS that takes no time, which hides nothing of what they cost. Each figure is the time
from sending a fragment to the last of its dubs, certificates and connections included. One fragment goes out every
`EVERY_S`, as from a worker's stream, so that the ones that meet a broken cache anew are among them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from livedub.audio.codec import encode_audio
from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.dubbing.asking import StsExchange
from livedub.dubbing.cached_speech import CachedSpeech
from livedub.dubbing.config import DubbingConfig
from livedub.dubbing.exchange import fragment_positions
from livedub.dubbing.fragment import DubbingFragment, LanguageDub, Outcome
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, SpokenLine
from livedub.sts.contract import (
    SPEAKING_MODEL,
    Audio,
    AudioFormat,
    Dub,
    PartialKind,
    Status,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
    Transcript,
)
from livedub.sts.partials import OnPartial
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, Span
from livedub.timeline.fragmenter import CutReason, FragmentCut
from tests.bench.bench_media_policy import policy_for, unused_port
from tests.integration.media_cache.media_rig import MediaHost

FRAGMENTS = 80
EVERY_S = 0.2
VOICE_MS = 300
LINES = 20
MODEL = "bench:bench"
LANGUAGES = ("en", "fr")


class Clock:
    """Media time that runs with the machine's."""

    def now_media_ns(self) -> int:
        return time.monotonic_ns()


class Voices:
    """An STS whose words are there at once and whose sound takes its time."""

    def __init__(self, voice_ms: int) -> None:
        self._voice_s = voice_ms / 1_000
        silence = np.zeros(READ_RATE_HZ * 3, np.float32)
        silence[READ_RATE_HZ // 2 : -READ_RATE_HZ // 2] = tone(2_000)
        self._audio: Audio = encode_audio(silence, READ_RATE_HZ, AudioFormat.FLAC)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        lines = [line_of(request.sequence_number, target.language) for target in request.config.targets]
        worded = [
            Dub(language=line.voice[:2], translated_text=line.sentence, cache_key=line.key, voice=line.voice)
            for line in lines
        ]
        transcript, models = Transcript(text="hola", language="es"), {SPEAKING_MODEL: MODEL}
        spoken_at_s = time.monotonic() + self._voice_s
        if on_partial is not None:
            await on_partial(
                StsPartial(
                    kind=PartialKind.TEXT,
                    fragment_id=request.fragment_id,
                    transcript=transcript,
                    dubs=tuple(worded),
                    models=models,
                )
            )
        await asyncio.sleep(max(0.0, spoken_at_s - time.monotonic()))
        return StsResult(
            fragment_id=request.fragment_id,
            status=Status.SUCCESS,
            transcript=transcript,
            dubs=tuple(dub.model_copy(update={"audio": self._audio}) for dub in worded),
            models=models,
        )


def tone(milliseconds: int) -> Samples:
    n = np.arange(READ_RATE_HZ * milliseconds // 1_000)
    return (0.3 * np.sin(n * 0.05)).astype(np.float32)


def line_of(number: int, language: str) -> SpokenLine:
    return SpokenLine(f"line {number % LINES}", f"{language}/voice", MODEL)


def fragment(number: int, config: DubbingConfig) -> DubbingFragment:
    now_ns = time.monotonic_ns()
    speech = Span(now_ns + 500 * NS_PER_MS, now_ns + 2_500 * NS_PER_MS)
    cut = FragmentCut(now_ns, now_ns + 3 * NS_PER_S, (speech,), CutReason.PAUSE)
    start, end = fragment_positions(cut.start_ns, cut.end_ns)
    dubs = {track: LanguageDub(target) for track, target in config.tracks.items()}
    return DubbingFragment(config, number, cut, start, end, now_ns + 10 * NS_PER_S, dubs)


async def dub(policy: CachePolicy | None, voice_ms: int = VOICE_MS) -> dict[str, Any]:
    """All fragments, one after the other at their pace."""
    cached = CachedSpeech(policy) if policy is not None else None
    exchange = StsExchange(Voices(voice_ms), Clock(), 8, cached)
    config = DubbingConfig(
        "bench", 0, "es", LANGUAGES[0], more_targets=tuple(Target(language=it) for it in LANGUAGES[1:])
    )
    source = np.zeros((PROGRAMME_RATE_HZ * 3, 2), np.float32)
    took_ms: list[float] = []
    hits = 0

    async def one(number: int) -> None:
        nonlocal hits
        outcomes: list[Outcome] = []
        ready_s: list[float] = []

        def answered(_: str, outcome: Outcome) -> None:
            outcomes.append(outcome)
            ready_s.append(time.perf_counter())

        began_s = time.perf_counter()
        await exchange.ask(fragment(number, config), lambda: source, answered)
        took_ms.append((max(ready_s) - began_s) * 1_000)
        hits += sum(outcome.cache_hit for outcome in outcomes)
        if not all(outcome.airable for outcome in outcomes):
            raise RuntimeError("a fragment has no dub")

    tasks: list[asyncio.Task[None]] = []
    start_s = time.perf_counter()
    for number in range(FRAGMENTS):
        await asyncio.sleep(max(0.0, start_s + number * EVERY_S - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    took_ms.sort()
    return {
        "p50_ms": round(statistics.median(took_ms), 1),
        "p99_ms": round(took_ms[int(0.99 * FRAGMENTS)], 1),
        "max_ms": round(took_ms[-1], 1),
        "dubs_from_cache": hits,
        "dubs": FRAGMENTS * len(LANGUAGES),
    }


async def healthy(folder: Path) -> dict[str, Any]:
    """A real host that has every line."""
    with MediaHost(folder) as host:
        variables = host.variables
        policy = await policy_for(
            variables["TTS_MEDIA_CACHE_BASE_URL"],
            ca_bundle=variables["TTS_MEDIA_CACHE_CA_BUNDLE"],
            upload_token=variables["TTS_MEDIA_CACHE_UPLOAD_TOKEN"],
            admit_on_sight=1,
        )
        try:
            for number in range(LINES):
                for language in LANGUAGES:
                    await policy.lookup(line_of(number, language))
                    policy.offer(line_of(number, language), tone(2_000), READ_RATE_HZ)
                await policy.settle()
            return await dub(policy)
        finally:
            await policy.aclose()


async def broken(url: str) -> dict[str, Any]:
    """A host that is no use, with a voice that takes its time and with one that takes none."""
    policy = await policy_for(url)
    try:
        return {"voice": await dub(policy), "instant_voice": await dub(policy, 0)}
    finally:
        await policy.aclose()


async def measure() -> dict[str, Any]:
    """All four."""
    figures: dict[str, Any] = {"no_cache": {"voice": await dub(None), "instant_voice": await dub(None, 0)}}
    with tempfile.TemporaryDirectory() as folder:
        figures["healthy"] = await healthy(Path(folder))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        figures["silent"] = await broken(f"https://127.0.0.1:{listener.getsockname()[1]}")
    figures["refused"] = await broken(f"https://127.0.0.1:{unused_port()}")
    return {"fragments": FRAGMENTS, "languages": len(LANGUAGES), "voice_ms": VOICE_MS, **figures}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = json.dumps(asyncio.run(measure()), indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
