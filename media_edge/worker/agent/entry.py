"""The agent process: settings and clients in, signals handled, exit code out."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import sys
from functools import partial

from livedub.errors import ConfigurationError, LivedubError
from livedub.library.library_settings import LibrarySettings
from livedub.observability import configure_logging
from livedub.supervision.dynamo_stream_store import DynamoStreamStore
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.shared_settings_store import SharedSettingsStore
from media_edge.worker.agent.agent import Agent
from media_edge.worker.agent.aws_client import agent_aws_client
from media_edge.worker.agent.calls import DetachedCalls
from media_edge.worker.agent.fleet_member import FleetHooks, FleetMember, FleetPace
from media_edge.worker.agent.imds_client import InstanceMetadata
from media_edge.worker.agent.lifecycle_client import ScalingGroup
from media_edge.worker.agent.live_library import LiveLibrary
from media_edge.worker.agent.load_client import LoadMetrics
from media_edge.worker.agent.media_kick_client import RelayKicker
from media_edge.worker.agent.metrics import AgentMetrics
from media_edge.worker.agent.ports import Calls
from media_edge.worker.agent.settings import AgentSettings, read_settings
from media_edge.worker.agent.shared_watch import SharedWatch
from media_edge.worker.agent.task_token_client import StepFunctionsTokens
from media_edge.worker.agent.termination import await_notice
from media_edge.worker.agent.tools import Tools
from media_edge.worker.agent.work_queue_client import SqsWorkQueue
from media_edge.worker.agent.worker_pool import WorkerPool
from media_edge.worker.agent.worker_process import WORKER_ARGV, WorkerProcess, worker_environment
from media_edge.worker.exit_codes import ExitCode
from media_edge.worker.progress import ProgressWriter

logger = logging.getLogger(__name__)

_RETRY_S = 1.0


def run_agent() -> int:
    """Run the agent until it is drained; 0 then, 2 when a setting is wrong."""
    try:
        settings = read_settings()
        policy = SupervisionPolicy()
        configure_logging(
            style=settings.log_format, level=settings.log_level, fields={"agent_id": settings.name}
        )
        asyncio.run(_run(settings, policy))
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return int(ExitCode.CONFIGURATION)
    return 0


async def _run(settings: AgentSettings, policy: SupervisionPolicy) -> None:
    timeout_s = settings.call_timeout_s
    metrics = AgentMetrics()
    progress = ProgressWriter(sys.stdout)
    kicker = RelayKicker(timeout_s)
    environment = worker_environment(os.environ)
    argv = shlex.split(settings.worker_command) or WORKER_ARGV
    pool = WorkerPool(partial(WorkerProcess.start, argv, environment), keep_spare=settings.warm_spare)
    library = LiveLibrary.connect(settings, LibrarySettings.load()) if settings.library_spool else None
    calls = DetachedCalls()
    watch = _shared_watch(settings, calls)
    tools = Tools(
        agent_id=settings.name,
        store=DynamoStreamStore(
            settings.streams_table, agent_aws_client("dynamodb", timeout_s), patience_s=timeout_s
        ),
        tokens=StepFunctionsTokens(agent_aws_client("stepfunctions", timeout_s)),
        kicker=kicker,
        workers=pool,
        calls=calls,
        metrics=metrics,
        policy=policy,
        call_timeout_s=timeout_s,
        start_timeout_s=settings.start_timeout_s,
        drain_timeout_s=settings.drain_timeout_s,
        events_dir=settings.events_dir.expanduser() if settings.events_dir else None,
        library=library,
        shared=lambda: watch.current,
        tell=progress.write,
    )
    queue = SqsWorkQueue(
        settings.work_queue_url, agent_aws_client("sqs", timeout_s, longest_poll_s=settings.poll_wait_s)
    )
    agent = Agent(queue, tools, slots=settings.slots, poll_wait_s=settings.poll_wait_s)
    watch.on_change = agent.hand_over
    metadata = InstanceMetadata(settings.imds_url, timeout_s) if settings.imds_url else None
    member = _fleet_member(settings, agent, metadata, calls)
    beside: list[asyncio.Task[None]] = []
    try:
        _serve_metrics(metrics, settings)
        _obey_signals(agent, library)
        pool.start()
        if library is not None:
            library.start()
        logger.info("Agent %s has %d slots.", settings.name, settings.slots)
        beside = [
            asyncio.create_task(_say_ready(pool, member, settings, progress), name="ready"),
            asyncio.create_task(watch.run(settings.shared_poll_s), name="shared settings"),
            asyncio.create_task(member.run(), name="fleet"),
        ]
        if metadata is not None:
            notices = _await_notice(metadata, calls, agent, settings)
            beside.append(asyncio.create_task(notices, name="termination notices"))
        await _know_services(agent, watch)
        await agent.run()
        if library is not None:
            # What streams left behind: a host that goes away takes its disk along.
            await asyncio.to_thread(library.finish, tools.drain_timeout_s)
        await member.drained()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await pool.aclose()
        progress.close()
        kicker.close()
        metrics.close()
        if metadata is not None:
            metadata.close()


async def _say_ready(
    pool: WorkerPool, member: FleetMember, settings: AgentSettings, progress: ProgressWriter
) -> None:
    """Work is taken before, too; from now on a stream starts without loading."""
    await pool.until_warm()
    progress.write({"event": "ready", "agent_id": settings.name, "slots": settings.slots})
    await member.in_service()


async def _know_services(agent: Agent, watch: SharedWatch) -> None:
    """No stream is taken before it is known who dubs it."""
    while not agent.draining and not await watch.refresh():  # noqa: ASYNC110 - each look is a call
        await asyncio.sleep(_RETRY_S)


async def _await_notice(
    metadata: InstanceMetadata, calls: Calls, agent: Agent, settings: AgentSettings
) -> None:
    await await_notice(
        metadata,
        calls,
        period_s=settings.imds_poll_s,
        timeout_s=2 * settings.call_timeout_s,
        on_notice=agent.drain,
    )


def _shared_watch(settings: AgentSettings, calls: Calls) -> SharedWatch:
    sources, timeout_s = settings.shared_sources, settings.call_timeout_s
    if not sources:
        return SharedWatch(None, calls, timeout_s=timeout_s)
    store = SharedSettingsStore(
        agent_aws_client("ssm", timeout_s), agent_aws_client("secretsmanager", timeout_s)
    )
    readings = len(sources.parameters) + len(sources.secrets)
    return SharedWatch(partial(store.read, sources), calls, timeout_s=readings * timeout_s)


def _fleet_member(
    settings: AgentSettings, agent: Agent, metadata: InstanceMetadata | None, calls: Calls
) -> FleetMember:
    timeout_s = settings.call_timeout_s
    group = report = None
    if settings.lifecycle_group and metadata is not None:
        client = agent_aws_client("autoscaling", timeout_s)
        group = ScalingGroup(settings.lifecycle_group, metadata.instance_id, client)
    if settings.load_namespace:
        report = LoadMetrics(settings.load_namespace, agent_aws_client("cloudwatch", timeout_s)).put
    return FleetMember(
        group,
        report,
        lambda: agent.load,
        calls,
        hooks=FleetHooks(settings.lifecycle_launch_hook, settings.lifecycle_hook),
        pace=FleetPace(
            beat_s=settings.lifecycle_beat_s, report_s=settings.load_report_s, call_s=2 * timeout_s
        ),
    )


def _obey_signals(agent: Agent, library: LiveLibrary | None) -> None:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if agent.draining:
            agent.stop("stopped for the second time")
            if library is not None:
                library.stop()
        else:
            agent.drain("the agent is being stopped")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)


def _serve_metrics(metrics: AgentMetrics, settings: AgentSettings) -> None:
    if not settings.metrics_port:
        return
    try:
        metrics.serve(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        raise ConfigurationError(
            f"AGENT_METRICS_HOST {settings.metrics_host} and AGENT_METRICS_PORT {settings.metrics_port} cannot be "
            f"listened on: {error.strerror}.",
            remedy="Choose a free port, or 0 to switch metrics off.",
        ) from error
