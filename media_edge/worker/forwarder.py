"""Copies the worker's output to a third party, in a process of its own: its trouble never reaches `out`."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from enum import IntEnum
from typing import Protocol

from livedub.parent_death import die_with_parent
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker.egress import Egress
from media_edge.worker.endpoints import Endpoint
from media_edge.worker.gst.pipeline import local_now_ns
from media_edge.worker.gst.publisher import RtmpPublisher
from media_edge.worker.gst.rtmp_ingest import RtmpIngest
from media_edge.worker.ingest import IngestKeeper
from media_edge.worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_TICK_S = 0.05
_FINISH_NS = 2 * NS_PER_S


class ForwardExit(IntEnum):
    """How a forwarder ends."""

    STOPPED = 0
    """SIGTERM or SIGINT."""
    CONFIGURATION = 10
    """WORKER_FORWARD_URL or another setting is missing or wrong: trying again is useless."""
    NO_SOURCE = 20
    """The output did not appear within WORKER_NO_INPUT_TIMEOUT_MS."""
    SOURCE_LOST = 30
    """The output ended and did not return within WORKER_GRACE_MS."""
    DESTINATION_FAILED = 40
    """The destination refused or broke for WORKER_EGRESS_TIMEOUT_MS."""
    CRASHED = 50
    """An unexpected error; the log holds the traceback."""


class Source(Protocol):
    """What the forwarder needs of an `IngestKeeper`."""

    @property
    def ever_received(self) -> bool:
        """Whether anything ever arrived."""
        ...

    def absent_for_ns(self, now_ns: int) -> int:
        """How long nothing has arrived."""
        ...


class ForwardLimits:
    """When a forwarder gives up."""

    def __init__(self, *, no_source_ns: int, grace_ns: int, destination_ns: int) -> None:
        self._no_source_ns = no_source_ns
        self._grace_ns = grace_ns
        self._destination_ns = destination_ns

    def verdict(self, source: Source, failing_ns: int, now_ns: int) -> ForwardExit | None:
        """How it ends, if it does now."""
        absent_ns = source.absent_for_ns(now_ns)
        if failing_ns > self._destination_ns:
            return ForwardExit.DESTINATION_FAILED
        if not source.ever_received:
            return ForwardExit.NO_SOURCE if absent_ns > self._no_source_ns else None
        return ForwardExit.SOURCE_LOST if absent_ns > self._grace_ns else None


def without_query(endpoint: Endpoint) -> Endpoint:
    """The address to play from: a publish token opens nothing there, and is nobody else's business."""
    return replace(endpoint, playpath=endpoint.playpath.split("?", 1)[0])


async def forward(settings: WorkerSettings, destination: Endpoint) -> ForwardExit:
    """Copy until stopped or until a limit is reached; timestamps stay as they are."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    source = without_query(settings.output)
    keeper = IngestKeeper(
        lambda on_problem: RtmpIngest(
            source, idle_timeout_s=settings.input_idle_timeout_s, on_problem=on_problem
        ),
        name=str(source),
        started_ns=local_now_ns(),
        on_failure=lambda: None,
    )
    egress = Egress(
        lambda: RtmpPublisher(destination),
        due_ns=lambda _: local_now_ns(),
        delay_ns=0,
        name=str(destination),
        on_failure=lambda: None,
    )
    limits = ForwardLimits(
        no_source_ns=settings.no_input_timeout_ms * NS_PER_MS,
        grace_ns=settings.grace_ms * NS_PER_MS,
        destination_ns=settings.egress_timeout_ms * NS_PER_MS,
    )
    try:
        return await _copy(keeper, egress, limits, stop)
    finally:
        keeper.stop()
        egress.close()


async def _copy(
    keeper: IngestKeeper, egress: Egress, limits: ForwardLimits, stop: asyncio.Event
) -> ForwardExit:
    while not stop.is_set():
        now_ns = local_now_ns()
        egress.send([arrival.unit for arrival in keeper.tick(now_ns)], now_ns)
        if keeper.ever_received:
            egress.tick(now_ns)
        verdict = limits.verdict(keeper, egress.failing_for_ns(now_ns), now_ns)
        if verdict is not None:
            logger.error("Forwarding ends: %s.", verdict.name.lower().replace("_", " "))
            return verdict
        await asyncio.sleep(_TICK_S)
    keeper.stop()
    egress.finish()
    give_up_ns = local_now_ns() + _FINISH_NS
    while not egress.finished and local_now_ns() < give_up_ns:
        egress.tick(local_now_ns())
        await asyncio.sleep(_TICK_S)
    return ForwardExit.STOPPED


def run_forwarder(settings: WorkerSettings) -> ForwardExit:
    """Forward in this process until it ends; every outcome is an exit code."""
    if settings.die_with_parent:
        die_with_parent()
    destination = settings.forward
    if destination is None:
        logger.error(
            "WORKER_FORWARD_URL is empty: there is nowhere to forward to. Set it to an rtmp:// address."
        )
        return ForwardExit.CONFIGURATION
    try:
        return asyncio.run(forward(settings, destination))
    except Exception:
        logger.exception("The forwarder crashed.")
        return ForwardExit.CRASHED
