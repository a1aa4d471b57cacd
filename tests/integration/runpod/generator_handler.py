"""A worker on RunPod's SDK as it comes, without anything of ours: `python generator_handler.py` in a worker's environment.

Echoes words. `{"seconds": s}` waits before each; the handler says on stdout when it runs and when it is stopped.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import runpod


async def handler(job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    sys.stdout.write(f"RUNNING {job['id']}\n")
    sys.stdout.flush()
    try:
        for word in job["input"]["words"]:
            await asyncio.sleep(job["input"].get("seconds", 0))
            yield {"word": word}
    except asyncio.CancelledError:
        sys.stdout.write(f"STOPPED {job['id']}\n")
        sys.stdout.flush()
        raise


if __name__ == "__main__":
    runpod.serverless.start(
        {"handler": handler, "return_aggregate_stream": True, "concurrency_modifier": lambda _current: 4}
    )
