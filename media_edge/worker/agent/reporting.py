"""Telling the state machine how a worker ended."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from livedub.supervision.contract import WorkItem, WorkReport
from livedub.supervision.record import StreamRecord
from livedub.supervision.store_errors import StoreBusyError, StoreUnavailableError
from media_edge.worker.agent.ports import TokenRefusedError
from media_edge.worker.agent.tools import Tools

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0
_LONGEST_S = 60.0


async def send_report(tools: Tools, work: WorkItem, token: str, report: WorkReport) -> bool:
    """Send `report`, again while nobody answers, for as long as it can still matter. Whether it arrived.

    A refused token is looked up in the row once more: after a roll-over the task has another one.
    """
    give_up_s = _now_s() + min(work.heartbeat_s, _LONGEST_S)
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            await tools.calls("Reporting", partial(tools.tokens.succeed, token, report), tools.call_timeout_s)
        except TokenRefusedError:
            newer = await _newer_token(tools, work, token)
            if newer:
                token = newer
                continue
            logger.info("The state machine had given the task up already; nothing is reported.")
            return False
        except StoreUnavailableError as error:
            logger.warning("The end was not reported: %s", error)
        else:
            logger.info("Reported: %s%s.", report.outcome, f", {report.detail}" if report.detail else "")
            return True
        if _now_s() + pause_s > give_up_s:
            logger.error("The end could not be reported; the state machine finds out by its own clock.")
            return False
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _newer_token(tools: Tools, work: WorkItem, token: str) -> str:
    try:
        load = partial(tools.store.load, work.stream_id)
        record: StreamRecord | None = await tools.calls("Reading the row", load, tools.call_timeout_s)
    except (StoreUnavailableError, StoreBusyError):
        return ""
    if record is None or record.lease.generation != work.generation:
        return ""
    if record.lease.agent_id != tools.agent_id or record.lease.task_token == token:
        return ""
    return record.lease.task_token


def _now_s() -> float:
    return asyncio.get_running_loop().time()
