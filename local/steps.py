"""Processes that do one thing and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from local.processes import ProcessError, ProcessSpec, Supervisor


async def run_step(
    steps: Supervisor,
    spec: ProcessSpec,
    timeout_s: float,
    *,
    allowed: tuple[int, ...] = (0,),
    say: Callable[[str], None] | None = None,
) -> list[str]:
    """Run a process to its end and return its stdout; a process, so that Ctrl-C can end it at any time.

    Args:
        steps: ends it when we are ended.
        spec: what to run.
        timeout_s: it is ended after this long.
        allowed: exit codes that are no failure.
        say: hears what it says on stderr.

    Raises:
        ProcessError: it took longer, or ended with another code; carries its last lines.
    """
    lines: list[str] = []
    child = await steps.start(spec, on_stdout=lines.append, on_stderr=say)
    try:
        code = await asyncio.wait_for(child.wait(), timeout_s)
    except TimeoutError as error:
        raise ProcessError(
            f"{spec.name} took longer than {timeout_s:.0f} s: {child.describe_end()}"
        ) from error
    finally:
        await steps.stop(child)
    if code not in allowed:
        raise ProcessError(child.describe_end())
    return lines
