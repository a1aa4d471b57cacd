"""The worker process: turns one stream until it ends, and says how it went."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from livedub.audio.separation import DeepFilterSeparator, SpeechSeparator
from livedub.dubbing.event_log import EventLogFile
from livedub.errors import ConfigurationError, InvalidInputError, MissingPrerequisiteError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.parent_death import die_with_parent
from livedub.supervision.paths import output_name
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.origin import TimelineOrigin, TimelineStore
from media_edge.worker.assembly import Assembly, assemble, connect_service, dubbing_config
from media_edge.worker.command_inbox import CommandInbox
from media_edge.worker.egress import EgressState
from media_edge.worker.exit_codes import ExitCode
from media_edge.worker.forward_process import ForwardProcess
from media_edge.worker.gst.pipeline import local_now_ns
from media_edge.worker.metrics import WorkerMetrics
from media_edge.worker.progress import ProgressWriter
from media_edge.worker.services import read_media_cache, same_sts, with_sts
from media_edge.worker.settings import WorkerSettings, with_hot_changes
from media_edge.worker.side_outputs import OutputStatus
from media_edge.worker.stream_state import StreamState
from media_edge.worker.timeline_file_store import TimelineFileStore
from media_edge.worker.watchdog import Watchdog, exit_wedged

logger = logging.getLogger(__name__)

_REPORT_NS = NS_PER_S
_SAVE_NS = 10 * NS_PER_S
_DRAIN_MARGIN_NS = 5 * NS_PER_S
_CLOSE_BOUND_S = 5.0
_PAGE_BYTES = resource.getpagesize()


class StreamWorker:
    """Owns an assembly: ticks it, reports on it, keeps its timeline, decides when it is over."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        store: TimelineStore,
        progress: ProgressWriter,
        metrics: WorkerMetrics,
        events: EventLogFile | None = None,
        media_cache: MediaCacheSettings | None = None,
        separator_factory: Callable[[], SpeechSeparator] = DeepFilterSeparator,
    ) -> None:
        self._settings = settings
        self._store = store
        self._progress = progress
        self._metrics = metrics
        self._events = events
        self._media_cache = media_cache
        self._separator_factory = separator_factory
        self._forwarder = _forward_process(settings) if settings.forward_url else None
        self._parts: Assembly | None = None
        self._stop_requests = 0
        self._ending: ExitCode | None = None
        self._drain_by_ns = 0
        self._state: StreamState | None = None
        self._sessions_told = 0
        self._saving: asyncio.Task[None] | None = None
        self._next_save_ns = 0
        self._next_report_ns = 0
        self._usage = _Usage()
        self._last_sent: tuple[int | None, int] = (None, 0)
        self._output_states: dict[str, EgressState] = {}

    def request_stop(self) -> None:
        """Drain; asked a second time, end at once."""
        self._stop_requests += 1

    def obey(self, command: Mapping[str, Any]) -> None:
        """Do what one line of a supervisor says: `drain`, `stop` (at once), `settings` or `services`; what it cannot is logged."""
        match command.get("command"):
            case "drain":
                self._stop_requests = max(1, self._stop_requests)
            case "stop":
                self._stop_requests = 2
            case "settings" if isinstance(command.get("settings"), dict):
                self._change_settings(command["settings"])
            case "services" if isinstance(command.get("services"), dict):
                self._change_services(command["services"])
            case unknown:
                logger.error("The command %.100r is not known; nothing changes.", unknown)

    def _change_settings(self, changes: Mapping[str, Any]) -> None:
        try:
            changed = with_hot_changes(self._settings, changes)
            if self._parts is not None:
                self._parts.session.reconfigure(dubbing_config(changed))
        except ConfigurationError as error:
            logger.error("The new settings are refused, the old ones stay: %s", error)
            self._progress.write({"event": "settings_refused", "problem": str(error)})
            return
        self._settings = changed
        logger.info("New settings from the next fragment on: %s.", ", ".join(sorted(changes)))

    def _change_services(self, services: Mapping[str, Any]) -> None:
        """New fragments go by what is said now; what is under way ends where it was begun."""
        try:
            changed = with_sts(self._settings, services)
            cache = read_media_cache(services)
            if self._parts is not None and not same_sts(changed, self._settings):
                self._parts.sts.replace(connect_service(changed))
                logger.info("The speech-to-speech service is %s from now on.", changed.sts_url)
        except ConfigurationError as error:
            logger.error("What was said of services is refused, all stays as it is: %s", error)
            return
        self._settings, self._media_cache = changed, cache
        if self._parts is not None:
            self._parts.cache.follow(cache)

    async def run(self) -> ExitCode:
        """Turn the stream until it ends.

        Raises:
            InvalidInputError: the stored timeline cannot be read.
            MissingPrerequisiteError: a model is not installed.
        """
        stored = self._load_origin()
        self._parts = assemble(
            self._settings,
            stored,
            on_event=self._tell_event,
            on_bus_error=self._metrics.count_failure,
            media_cache=self._media_cache,
            separator_factory=self._separator_factory,
        )
        self._parts.sts_warm_up.start()
        self._parts.cache.start()
        if (policy := self._parts.cache.policy) is not None:
            self._metrics.watch_media_cache(lambda: asdict(policy.counts))
        watchdog = Watchdog(self._settings.watchdog_ms * NS_PER_MS, partial(exit_wedged, ExitCode.WEDGED))
        watchdog.start()
        # What is loaded by now lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        if self._forwarder is not None:
            self._forwarder.start()
        try:
            return await self._turn(self._parts, watchdog)
        finally:
            watchdog.stop()
            if self._forwarder is not None:
                await self._forwarder.aclose()
            try:
                await asyncio.wait_for(self._parts.aclose(), _CLOSE_BOUND_S)
            except TimeoutError:
                logger.warning("Not every part could be closed within %.0f s.", _CLOSE_BOUND_S)
            if self._saving is not None:
                await asyncio.wait({self._saving}, timeout=2.0)

    async def _turn(self, parts: Assembly, watchdog: Watchdog) -> ExitCode:
        while True:
            now_ns = local_now_ns()
            watchdog.beat()
            parts.stream.tick(now_ns)
            self._follow(parts, now_ns)
            verdict = self._verdict(parts, now_ns)
            if verdict is not None:
                self._tell_state(StreamState.ENDED)
                return verdict
            await asyncio.sleep(max(0, parts.stream.next_tick_ns(now_ns) - local_now_ns()) / NS_PER_S)

    def _verdict(self, parts: Assembly, now_ns: int) -> ExitCode | None:
        """How the worker ends, if it does now."""
        if self._stop_requests > 1:
            logger.warning("Stopped for the second time: the worker ends without playing out its buffer.")
            return ExitCode.KILLED
        if self._ending is not None:
            return self._drain_verdict(parts, now_ns)
        if self._stop_requests:
            logger.info("Stopped: input is let go, at most %d ms play out.", self._settings.delay_ms)
            self._begin_drain(parts, ExitCode.DRAINED, now_ns)
        elif parts.egress.failing_for_ns(now_ns) > self._settings.egress_timeout_ms * NS_PER_MS:
            logger.error(
                "The output could not be published for %d ms: giving up.", self._settings.egress_timeout_ms
            )
            return ExitCode.EGRESS_FAILED
        elif self._stands_still(parts, now_ns):
            logger.error("Output time has stood still for %d ms: giving up.", self._settings.watchdog_ms)
            return ExitCode.WEDGED
        else:
            return self._absence_verdict(parts, now_ns)
        return None

    def _absence_verdict(self, parts: Assembly, now_ns: int) -> ExitCode | None:
        absent_ns = parts.ingest.absent_for_ns(now_ns)
        if not parts.ingest.ever_received:
            if absent_ns > self._settings.no_input_timeout_ms * NS_PER_MS:
                logger.error("No publisher came within %d ms: giving up.", self._settings.no_input_timeout_ms)
                return ExitCode.NO_INPUT
        elif absent_ns > self._settings.grace_ms * NS_PER_MS:
            logger.warning("The publisher has been away for %d ms: the stream ends.", self._settings.grace_ms)
            self._begin_drain(parts, ExitCode.SOURCE_LOST, now_ns)
        return None

    def _drain_verdict(self, parts: Assembly, now_ns: int) -> ExitCode | None:
        if parts.stream.state(now_ns) is StreamState.ENDED:
            return self._ending
        if now_ns > self._drain_by_ns:
            logger.warning("The output did not play out in time; the worker ends all the same.")
            return self._ending
        return None

    def _begin_drain(self, parts: Assembly, ending: ExitCode, now_ns: int) -> None:
        self._ending = ending
        self._drain_by_ns = now_ns + self._settings.delay_ns + _DRAIN_MARGIN_NS
        parts.stream.drain(now_ns)

    def _stands_still(self, parts: Assembly, now_ns: int) -> bool:
        """Whether a working output takes nothing: a refused or broken one has its own, longer bound."""
        sent_ns = parts.egress.sent_media_ns
        if parts.egress.state is not EgressState.LIVE or sent_ns != self._last_sent[0]:
            self._last_sent = (sent_ns, now_ns)
        return now_ns - self._last_sent[1] > self._settings.watchdog_ms * NS_PER_MS

    def _follow(self, parts: Assembly, now_ns: int) -> None:
        if parts.timeline.sessions != self._sessions_told:
            self._tell_session(parts)
            self._next_save_ns = now_ns
        self._tell_state(parts.stream.state(now_ns))
        self._tell_outputs(parts.stream.outputs(now_ns))
        if now_ns >= self._next_save_ns:
            self._next_save_ns = now_ns + _SAVE_NS
            self._save_origin(parts.timeline.origin)
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + _REPORT_NS
            self._report(parts, now_ns)

    def _tell_session(self, parts: Assembly) -> None:
        origin = parts.timeline.origin
        if origin is None:
            return
        if self._sessions_told == 0:
            parts.session.start()
        self._sessions_told = parts.timeline.sessions
        self._tell_event(
            {
                "event": "ingest",
                "session": self._sessions_told,
                "media_offset_ns": origin.media_offset_ns,
                "origin_utc_ns": origin.utc_ns,
            }
        )

    def _tell_event(self, event: dict[str, Any]) -> None:
        origin = self._parts.timeline.origin if self._parts is not None else None
        if event.get("event") == "session" and origin is not None:
            event = {**event, "media_offset_ns": origin.media_offset_ns, "origin_utc_ns": origin.utc_ns}
        self._metrics.observe_event(event)
        if self._events is not None:
            self._events.write(event)
        self._progress.write(event)

    def _tell_state(self, state: StreamState) -> None:
        if state is not self._state:
            self._state = state
            logger.info("State: %s.", state.value.replace("_", " "))
            self._progress.write(
                {"event": "state", "state": state.value, "utc_ms": time.time_ns() // NS_PER_MS}
            )

    def _tell_outputs(self, outputs: list[OutputStatus]) -> None:
        """Each change of each language's output; none but the first has a say in how the worker ends."""
        states = {output.track: output.state for output in outputs}
        for track in {**states, **self._output_states}:
            state = states.get(track)
            if state is not self._output_states.get(track):
                told = state.value if state else "removed"
                self._progress.write({"event": "output", "output": output_name(track), "state": told})
        self._output_states = states

    def _report(self, parts: Assembly, now_ns: int) -> None:
        cpu_percent, rss_bytes = self._usage.sample(now_ns)
        clock = parts.timeline.clock
        figures = {
            "input_media_ms": _ms(parts.timeline.newest_media_ns),
            "output_media_ms": _ms(parts.egress.sent_media_ns),
            "input_absent_ms": parts.ingest.absent_for_ns(now_ns) // NS_PER_MS,
            "av_sync_delta_ms": round(parts.audio.offset_ns / NS_PER_MS, 3),
            "drift_ppm": round(clock.drift_ppm, 1) if clock.started else 0.0,
            "in_flight": parts.session.in_flight,
            "breaker": parts.sts.breaker_state.value,
            "video_buffer_bytes": parts.video.size_bytes,
            "cpu_percent": cpu_percent,
            "rss_bytes": rss_bytes,
        }
        outputs = {
            output_name(output.track): {
                "state": output.state.value,
                "sent_media_ms": _ms(output.sent_media_ns),
                "failing_ms": output.failing_ns // NS_PER_MS,
                "rung": output.rung,
            }
            for output in parts.stream.outputs(now_ns)
        }
        self._metrics.observe_outputs(outputs)
        self._metrics.observe_figures(figures, parts.sts.breaker_state, sessions=parts.timeline.sessions)
        self._progress.write({"event": "progress", "rung": parts.stream.rung, **figures, "outputs": outputs})

    def tell_end(self, code: ExitCode) -> None:
        """Write the last lines of event log and progress."""
        cpu_percent, rss_bytes = self._usage.whole_life()
        self._tell_event({"event": "worker", "cpu_percent": cpu_percent, "rss_bytes": rss_bytes})
        self._progress.write({"event": "end", "exit_code": int(code), "outcome": code.outcome})

    def _load_origin(self) -> TimelineOrigin | None:
        origin = self._store.load(self._settings.stream_id)
        if origin is not None and origin.delay_ms != self._settings.delay_ms:
            # Harmless: a restart loses the old delay's worth of media, so even a shorter one never goes back in time.
            logger.warning(
                "D is %d ms from now on, it was %d ms: output time steps by the difference.",
                self._settings.delay_ms,
                origin.delay_ms,
            )
        return origin

    def _save_origin(self, origin: TimelineOrigin | None) -> None:
        if origin is None or (self._saving is not None and not self._saving.done()):
            return
        self._saving = asyncio.create_task(self._write_origin(origin), name="timeline")

    async def _write_origin(self, origin: TimelineOrigin) -> None:
        try:
            await asyncio.to_thread(self._store.save, self._settings.stream_id, origin)
        except OSError as error:
            logger.error("The timeline cannot be saved (%s): a restart would begin a new one.", error)


class _Usage:
    """CPU and memory of this process; percent of one core."""

    def __init__(self) -> None:
        self._began = self._last = (local_now_ns(), _cpu_ns())

    def sample(self, now_ns: int) -> tuple[float, int]:
        """Since the last sample."""
        last, self._last = self._last, (now_ns, _cpu_ns())
        return _percent(last, self._last), _rss_bytes()

    def whole_life(self) -> tuple[float, int]:
        """Since the beginning."""
        return _percent(self._began, (local_now_ns(), _cpu_ns())), _rss_bytes()


def _percent(begin: tuple[int, int], end: tuple[int, int]) -> float:
    return round(100 * (end[1] - begin[1]) / max(1, end[0] - begin[0]), 1)


def _cpu_ns() -> int:
    return time.process_time_ns()


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _ms(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // NS_PER_MS


def _forward_process(settings: WorkerSettings) -> ForwardProcess:
    # Not only the environment: a supervisor sends settings by another way.
    forwarded = {
        "WORKER_STREAM_ID": settings.stream_id,
        "WORKER_INPUT_URL": settings.input_url,
        "WORKER_OUTPUT_URL": settings.output_url.split("?", 1)[0],
        "WORKER_FORWARD_URL": settings.forward_url,
    }
    return ForwardProcess(environment={**os.environ, **forwarded})


def run_worker(
    settings: WorkerSettings,
    *,
    progress: ProgressWriter | None = None,
    store: TimelineStore | None = None,
    commands: CommandInbox | None = None,
    media_cache: MediaCacheSettings | None = None,
    separator_factory: Callable[[], SpeechSeparator] = DeepFilterSeparator,
) -> ExitCode:
    """Run one worker in this process until it ends; every outcome is an exit code."""
    if settings.die_with_parent:
        die_with_parent()
    progress = progress or ProgressWriter(sys.stdout)
    metrics = WorkerMetrics()
    metrics.delay.set(settings.delay_ms)
    events: EventLogFile | None = None
    code = ExitCode.CRASHED
    worker: StreamWorker | None = None
    try:
        events = EventLogFile(settings.events_path) if settings.events_path else None
        if settings.metrics_port:
            _serve_metrics(metrics, settings)
        worker = StreamWorker(
            settings,
            store=store or TimelineFileStore(settings.state_dir.expanduser()),
            progress=progress,
            metrics=metrics,
            events=events,
            media_cache=media_cache,
            separator_factory=separator_factory,
        )
        code = asyncio.run(_run_until_stopped(worker, commands))
    except (ConfigurationError, InvalidInputError, MissingPrerequisiteError, OSError) as error:
        logger.error("%s", error)
        code = ExitCode.CONFIGURATION
    except Exception:
        logger.exception("The worker crashed.")
    finally:
        if worker is not None:
            worker.tell_end(code)
        metrics.close()
        if events is not None:
            events.close()
        progress.close()
    logger.info("The worker ends: %s (exit code %d).", code.name.lower().replace("_", " "), code)
    return code


def _serve_metrics(metrics: WorkerMetrics, settings: WorkerSettings) -> None:
    try:
        metrics.serve(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        raise ConfigurationError(
            f"WORKER_METRICS_HOST {settings.metrics_host} and WORKER_METRICS_PORT {settings.metrics_port} cannot be "
            f"listened on: {error.strerror}.",
            remedy="Choose a free port, or 0 to switch metrics off.",
        ) from error


async def _run_until_stopped(worker: StreamWorker, commands: CommandInbox | None) -> ExitCode:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.request_stop)
    if commands is not None:
        commands.deliver_to(worker.obey, loop)
    return await worker.run()
