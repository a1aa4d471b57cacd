"""The wiring of the Lambda functions: every part is built from the environment when first used, then kept.

A process builds only what its function uses, so a function needs only the variables of its FUNCTION_SETTINGS.
"""

from __future__ import annotations

import functools
import time
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from livedub.settings import explain
from livedub.supervision.aws_client import aws_client
from livedub.supervision.dynamo_stream_store import DynamoStreamStore
from livedub.supervision.execution_client import ExecutionClient
from livedub.supervision.execution_starts import ExecutionStarts
from livedub.supervision.function_settings import (
    ApiSettings,
    RelaySettings,
    ReportSettings,
    StartSettings,
    StreamsSettings,
)
from livedub.supervision.path_report_store import PathReportStore
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.replay_guard_store import ReplayGuardStore
from livedub.supervision.secret_store import SecretStore
from livedub.supervision.signed_requests import SignedRequests
from livedub.supervision.stream_commands import StreamCommands

_Settings = TypeVar("_Settings", bound=BaseSettings)


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


@functools.cache
def policy() -> SupervisionPolicy:
    """How patient supervision is."""
    return _read(SupervisionPolicy)


@functools.cache
def streams() -> DynamoStreamStore:
    """Where streams are kept."""
    return DynamoStreamStore.connect(_read(StreamsSettings).streams_table)


@functools.cache
def starts() -> ExecutionStarts:
    """What starts executions."""
    executions = ExecutionClient.connect(_read(StartSettings).state_machine_arn)
    return ExecutionStarts(executions, policy(), now_ms)


@functools.cache
def requests() -> SignedRequests:
    """What opens requests of relays."""
    settings = _read(RelaySettings)
    keys = functools.partial(_secrets().keys, settings.relay_key_secret)
    return SignedRequests(keys, ReplayGuardStore.connect(settings.replay_table), now_ms)


@functools.cache
def reports() -> PathReportStore:
    """Where path lists are kept."""
    return PathReportStore.connect(_read(ReportSettings).reports_table)


@functools.cache
def commands() -> StreamCommands:
    """What operators may ask."""
    return StreamCommands(streams(), starts(), policy(), now_ms)


def api_token() -> str:
    """The bearer token of the stream API; read anew when it may have been exchanged."""
    return _secrets().text(_api_settings().api_token_secret)


def forget() -> None:
    """Build everything anew at the next use: for tests, which change the environment."""
    for built in (
        policy,
        streams,
        starts,
        requests,
        reports,
        commands,
        _secrets,
        _api_settings,
        aws_client,
    ):
        built.cache_clear()


@functools.cache
def _secrets() -> SecretStore:
    return SecretStore.connect()


@functools.cache
def _api_settings() -> ApiSettings:
    return _read(ApiSettings)


def _read(kind: type[_Settings]) -> _Settings:
    """Settings of one kind from the environment.

    Raises:
        ConfigurationError: naming each variable that is missing or wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        raise explain(error, kind) from error
