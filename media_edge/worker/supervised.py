"""The worker under an agent: settings and commands come on stdin, so that no token is in argv or the environment.

A supervised worker loads everything first, says that it is ready and only then waits for its first line: what to do.
So a spare one, kept ready, starts a stream without loading time. It ends at once when its agent does.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.audio.separation import DeepFilterSeparator, SpeechSeparator
from livedub.errors import InvalidInputError, LivedubError
from livedub.observability import configure_logging
from livedub.parent_death import die_with_parent
from livedub.settings import explain
from livedub.timeline.origin import TimelineOrigin
from media_edge.worker.command_inbox import CommandInbox, ObjectReader
from media_edge.worker.exit_codes import ExitCode
from media_edge.worker.lease_watch import LeaseWatch
from media_edge.worker.progress import ProgressWriter
from media_edge.worker.services import read_media_cache, sts_fields
from media_edge.worker.settings import WorkerSettings, read_settings
from media_edge.worker.stream_worker import run_worker
from media_edge.worker.timeline_pipe_store import TimelinePipeStore

logger = logging.getLogger(__name__)


class SpareSettings(BaseSettings):
    """What a worker knows before it is told its stream: the WorkerSettings of the same names are described there."""

    model_config = SettingsConfigDict(env_prefix="WORKER_", extra="ignore", env_ignore_empty=True)

    separation: Literal["dfn3", "off"] = "dfn3"
    log_format: Literal["json", "plain"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


def run_supervised() -> ExitCode:
    """Get ready, wait for the first line on stdin, then run the worker it describes until it ends."""
    die_with_parent()
    progress = ProgressWriter(sys.stdout)
    reader = ObjectReader(sys.stdin.fileno())
    try:
        spare = _read_spare_settings()
        configure_logging(style=spare.log_format, level=spare.log_level)
        separators = PreloadedSeparators(load=spare.separation != "off")
        progress.write({"event": "ready", "pid": os.getpid()})
        assignment = reader.next()
        if assignment is None:
            logger.info("The worker was not needed.")
            progress.close()
            return ExitCode.DRAINED
        settings, origin = read_assignment(assignment)
        media_cache = read_media_cache(assignment.get("services"))
    except LivedubError as error:
        logger.error("%s", error)
        code = ExitCode.CONFIGURATION
        progress.write(
            {"event": "end", "exit_code": int(code), "outcome": code.outcome, "problem": str(error)}
        )
        progress.close()
        return code
    configure_logging(
        style=settings.log_format,
        level=settings.log_level,
        secrets=[*secrets_of(settings), media_cache.upload_token.get_secret_value()],
        fields={"stream_id": settings.stream_id, "generation": settings.generation},
    )
    lease = LeaseWatch(_end_without_lease)
    commands = CommandInbox(reader, _end_without_supervisor, on_lease=lease.grant)
    commands.start()
    return run_worker(
        settings,
        progress=progress,
        store=TimelinePipeStore(origin, progress),
        commands=commands,
        media_cache=media_cache,
        separator_factory=separators,
    )


class PreloadedSeparators:
    """Makes separators; the first one is loaded in advance."""

    def __init__(self, *, load: bool, make: Callable[[], SpeechSeparator] = DeepFilterSeparator) -> None:
        self._make = make
        self._first = make() if load else None

    def __call__(self) -> SpeechSeparator:
        """A separator of one's own."""
        first, self._first = self._first, None
        return first or self._make()


def read_assignment(line: Mapping[str, Any]) -> tuple[WorkerSettings, TimelineOrigin | None]:
    """Settings and timeline in the first line; what it says of services, then the environment, gives the defaults.

    Raises:
        ConfigurationError: a setting is missing, wrong or unknown.
        InvalidInputError: the line is no assignment, or its timeline is none.
    """
    settings, timeline = line.get("settings"), line.get("timeline")
    if not isinstance(settings, dict) or not isinstance(timeline, dict | None):
        raise InvalidInputError(
            "The first line on stdin does not say what to do.",
            remedy='Send {"settings": {...}, "timeline": {...} or null, "services": {...}}.',
        )
    origin = TimelineOrigin.from_json(timeline) if timeline is not None else None
    return read_settings({**sts_fields(line.get("services")), **settings}), origin


def secrets_of(settings: WorkerSettings) -> list[str]:
    """Every value that must not show up in a log: the API key and what stands in URL queries."""
    queries = (urlsplit(url).query for url in (settings.input_url, settings.output_url, settings.forward_url))
    keys = (settings.sts_api_key, settings.sts_hedge_api_key)
    return [*(key.get_secret_value() for key in keys), *(value for q in queries for _, value in parse_qsl(q))]


def _read_spare_settings() -> SpareSettings:
    try:
        return SpareSettings()
    except ValidationError as error:
        raise explain(error, WorkerSettings) from error


def _end_without_lease() -> None:
    # As below: whoever takes over need not wait, and must not meet us.
    logger.error("The agent has not renewed the lease in time: the worker ends at once.")
    os._exit(ExitCode.KILLED)


def _end_without_supervisor() -> None:
    # From the reading thread: nobody waits for a clean end any more, and another worker may already be starting.
    logger.warning("The supervisor is gone: the worker ends at once.")
    os._exit(ExitCode.KILLED)
