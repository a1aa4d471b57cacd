"""The hourly clean-up of `media_edge.cache up`: what a timer or a Lambda function does in production."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from media_edge.cache.children import Child

_LONGEST_RUN_S = 900.0
"""Above MEDIA_CLEANUP_BUDGET_S as it is by default."""
_STOP_S = 5.0


async def clean_up_every(period_s: float, data_dir: Path, environment: Mapping[str, str]) -> None:
    """Clean up now and then once per period, until cancelled; a run that fails is told, and the next one comes.

    Args:
        period_s: from the end of one run to the next.
        data_dir: the host's objects; those that no row lists are swept once they are old enough.
        environment: with DATABASE_URL and the variables of a consumer that may write.
    """
    command = ("-m", "livedub.cli.main", "media", "cleanup", "--data-dir", str(data_dir), "--sweep")
    while True:
        run = await Child.start("the clean-up", (sys.executable, *command), environment)
        try:
            async with asyncio.timeout(_LONGEST_RUN_S):
                await run.ended()
        except TimeoutError:
            sys.stderr.write(f"the clean-up is stopped: it took longer than {_LONGEST_RUN_S:.0f} s\n")
        finally:
            await run.stop(_STOP_S)
        if run.failed:
            sys.stderr.write(f"{run.end()}\n")
        await asyncio.sleep(period_s)
