"""What asking the media cache costs a dub: `python tests/bench/bench_media_policy.py [--out FILE]` prints JSON.

A real host on the loopback, then one that refuses connections, then one that takes them and says nothing. Each figure
is the time `CachePolicy.lookup` kept its caller, connections and certificates included; lookups come 20 a second, as
from ten streams.
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

from livedub.media_cache.connected import connect_policy
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, SpokenLine
from tests.integration.media_cache.media_rig import MediaHost

LOOKUPS = 400
EVERY_S = 0.05
SPEECH_S = 2.0


async def look_up(policy: CachePolicy, *, known: int) -> dict[str, Any]:
    """Lookups at a steady pace; every other one asks for one of the first `known` lines."""
    took_ms: list[float] = []
    start_s = time.perf_counter()
    for number in range(LOOKUPS):
        await asyncio.sleep(max(0.0, start_s + number * EVERY_S - time.perf_counter()))
        sentence = f"known {number % known}" if known and number % 2 else f"new {number}"
        began_s = time.perf_counter()
        await policy.lookup(SpokenLine(sentence, "es/a", "m"))
        took_ms.append((time.perf_counter() - began_s) * 1_000)
    took_ms.sort()
    counts = policy.counts
    return {
        "p50_ms": round(statistics.median(took_ms), 2),
        "p99_ms": round(took_ms[int(0.99 * LOOKUPS)], 2),
        "max_ms": round(took_ms[-1], 2),
        "hits": counts.hits,
        "misses": counts.misses,
        "late": counts.late,
        "failed": counts.failed,
        "skipped": counts.skipped,
    }


async def policy_for(url: str, **settings: Any) -> CachePolicy:
    """The policy of a service with these settings."""
    policy = connect_policy(MediaCacheSettings.model_validate({"base_url": url, **settings}))
    assert policy is not None
    await policy.warm_up()
    return policy


async def healthy(folder: Path) -> dict[str, Any]:
    """A real host that holds 50 lines of 2 s."""
    with MediaHost(folder) as host:
        variables = host.variables
        policy = await policy_for(
            variables["TTS_MEDIA_CACHE_BASE_URL"],
            ca_bundle=variables["TTS_MEDIA_CACHE_CA_BUNDLE"],
            upload_token=variables["TTS_MEDIA_CACHE_UPLOAD_TOKEN"],
            admit_on_sight=1,
        )
        speech = (0.3 * np.sin(np.arange(int(SPEECH_S * READ_RATE_HZ)) * 0.05)).astype(np.float32)
        try:
            for number in range(50):
                line = SpokenLine(f"known {number}", "es/a", "m")
                await policy.lookup(line)
                policy.offer(line, speech, READ_RATE_HZ)
                await policy.settle()
            policy.counts = type(policy.counts)()
            return await look_up(policy, known=50)
        finally:
            await policy.aclose()


async def broken(url: str) -> dict[str, Any]:
    """A host that is no use."""
    policy = await policy_for(url)
    try:
        return await look_up(policy, known=0)
    finally:
        await policy.aclose()


async def measure() -> dict[str, Any]:
    """All three."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {"healthy": await healthy(Path(folder))}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        figures["silent"] = await broken(f"https://127.0.0.1:{listener.getsockname()[1]}")
    figures["refused"] = await broken(f"https://127.0.0.1:{unused_port()}")
    return {"lookups": LOOKUPS, "per_second": round(1 / EVERY_S), **figures}


def unused_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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
