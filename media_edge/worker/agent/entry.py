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
from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.agent import Agent
from media_edge.worker.agent.aws_client import agent_aws_client
from media_edge.worker.agent.calls import DetachedCalls
from media_edge.worker.agent.imds_client import InstanceMetadata
from media_edge.worker.agent.lifecycle_client import LifecycleHook
from media_edge.worker.agent.live_library import LiveLibrary
from media_edge.worker.agent.media_kick_client import RelayKicker
from media_edge.worker.agent.metrics import AgentMetrics
from media_edge.worker.agent.settings import AgentSettings, read_settings
from media_edge.worker.agent.task_token_client import StepFunctionsTokens
from media_edge.worker.agent.termination import await_notice
from media_edge.worker.agent.tools import Tools
from media_edge.worker.agent.work_queue_client import SqsWorkQueue
from media_edge.worker.agent.worker_pool import WorkerPool
from media_edge.worker.agent.worker_process import WORKER_ARGV, WorkerProcess, worker_environment
from media_edge.worker.exit_codes import ExitCode
from media_edge.worker.progress import ProgressWriter

logger = logging.getLogger(__name__)


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
    tools = Tools(
        agent_id=settings.name,
        store=DynamoStreamStore(
            settings.streams_table, agent_aws_client("dynamodb", timeout_s), patience_s=timeout_s
        ),
        tokens=StepFunctionsTokens(agent_aws_client("stepfunctions", timeout_s)),
        kicker=kicker,
        workers=pool,
        calls=DetachedCalls(),
        metrics=metrics,
        policy=policy,
        call_timeout_s=timeout_s,
        start_timeout_s=settings.start_timeout_s,
        drain_timeout_s=settings.drain_timeout_s,
        events_dir=settings.events_dir.expanduser() if settings.events_dir else None,
        library=library,
        tell=progress.write,
    )
    queue = SqsWorkQueue(
        settings.work_queue_url, agent_aws_client("sqs", timeout_s, longest_poll_s=settings.poll_wait_s)
    )
    agent = Agent(queue, tools, slots=settings.slots, poll_wait_s=settings.poll_wait_s)
    saying: asyncio.Task[None] | None = None
    try:
        _serve_metrics(metrics, settings)
        _obey_signals(agent)
        pool.start()
        if library is not None:
            library.start()
        logger.info("Agent %s has %d slots.", settings.name, settings.slots)
        saying = asyncio.create_task(_say_ready(pool, settings, progress), name="ready")
        await _work(agent, settings, tools)
    finally:
        if saying is not None:
            saying.cancel()
        await pool.aclose()
        progress.close()
        kicker.close()
        metrics.close()


async def _say_ready(pool: WorkerPool, settings: AgentSettings, progress: ProgressWriter) -> None:
    """Work is taken before, too; from now on a stream starts without loading."""
    await pool.until_warm()
    progress.write({"event": "ready", "agent_id": settings.name, "slots": settings.slots})


async def _work(agent: Agent, settings: AgentSettings, tools: Tools) -> None:
    if not settings.imds_url:
        await _run_to_the_end(agent, tools)
        return
    metadata = InstanceMetadata(settings.imds_url, settings.call_timeout_s)
    notices = asyncio.create_task(
        await_notice(
            metadata,
            tools.calls,
            period_s=settings.imds_poll_s,
            timeout_s=2 * settings.call_timeout_s,
            on_notice=agent.drain,
        ),
        name="termination notices",
    )
    try:
        await _run_to_the_end(agent, tools)
        if settings.lifecycle_hook and settings.lifecycle_group:
            await _complete_lifecycle(metadata, settings, tools)
    finally:
        notices.cancel()
        await asyncio.gather(notices, return_exceptions=True)
        metadata.close()


async def _run_to_the_end(agent: Agent, tools: Tools) -> None:
    """Until drained, and what streams left behind is uploaded: a host that goes away takes its disk along."""
    await agent.run()
    if tools.library is not None:
        await asyncio.to_thread(tools.library.finish, tools.drain_timeout_s)


async def _complete_lifecycle(metadata: InstanceMetadata, settings: AgentSettings, tools: Tools) -> None:
    timeout_s = settings.call_timeout_s
    hook = LifecycleHook(
        settings.lifecycle_group, settings.lifecycle_hook, agent_aws_client("autoscaling", timeout_s)
    )
    try:
        instance_id = await tools.calls("Asking for the instance id", metadata.instance_id, timeout_s)
        await tools.calls("Completing the lifecycle", partial(hook.complete, instance_id), timeout_s)
    except StoreUnavailableError as error:
        logger.warning("The auto-scaling group was not told that this host is drained: %s", error)


def _obey_signals(agent: Agent) -> None:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if agent.draining:
            agent.stop("stopped for the second time")
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
