"""What each Lambda function does, on the wiring of its process. Handlers load this with their first call."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from livedub.errors import InvalidInputError
from livedub.supervision import control_plane, lease_steps, media_requests
from livedub.supervision.contract import MediaAuthorization, MediaPermit, PathReport, SourceHook
from livedub.supervision.media_requests import HookAnswer, ReconcileAnswer
from livedub.supervision.refusals import RequestRefusedError
from livedub.supervision.signed_requests import HttpEvent, body_bytes, parse_body
from livedub.supervision.stream_commands import StreamCommands
from livedub.supervision.stream_gauges import StreamGauges, stream_gauges
from livedub.supervision.stream_requests import SettingsChange, StreamRegistration

_Model = TypeVar("_Model", bound=BaseModel)


def read_hook(event: HttpEvent) -> SourceHook:
    """A relay's hook, verified. Raises as SignedRequests.read."""
    return control_plane.requests().read(event, SourceHook)


def read_authorization(event: HttpEvent) -> MediaAuthorization:
    """A relay's question whether a connection may be, verified. Raises as SignedRequests.read."""
    return control_plane.requests().read(event, MediaAuthorization)


def read_report(event: HttpEvent) -> PathReport:
    """A relay's path list, verified. Raises as SignedRequests.read."""
    return control_plane.requests().read(event, PathReport)


def publish(hook: SourceHook) -> HookAnswer:
    """`on_publish`. Raises as media_requests.take_published."""
    return media_requests.take_published(
        hook,
        streams=control_plane.streams(),
        starts=control_plane.starts(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def unpublish(hook: SourceHook) -> HookAnswer:
    """`on_unpublish`. Raises as media_requests.take_unpublished."""
    return media_requests.take_unpublished(
        hook,
        streams=control_plane.streams(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def admit(request: MediaAuthorization) -> MediaPermit:
    """`authorize_media`. Raises as media_requests.admit."""
    return media_requests.admit(
        request,
        streams=control_plane.streams(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def keep(report: PathReport) -> bool:
    """Store a path list; False when a later one of its relay is known. Raises StoreUnavailableError."""
    return control_plane.reports().keep(report)


def reconcile() -> tuple[ReconcileAnswer, StreamGauges]:
    """`reconcile_streams`, and how the streams are after it. Raises as media_requests.reconcile_streams."""
    reports = control_plane.reports().list_all()
    now_ms, policy = control_plane.now_ms(), control_plane.policy()
    done = media_requests.reconcile_streams(
        reports,
        streams=control_plane.streams(),
        starts=control_plane.starts(),
        now_ms=now_ms,
        policy=policy,
    )
    return done.answer, stream_gauges(done.records, reports, now_ms, policy)


def acquire(event: Mapping[str, Any]) -> dict[str, Any]:
    """`acquire_lease`. Raises InvalidInputError, and as lease_steps.acquire_lease."""
    return lease_steps.acquire_lease(
        _payload(event, lease_steps.AcquirePayload),
        streams=control_plane.streams(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def classify(event: Mapping[str, Any]) -> dict[str, Any]:
    """`classify_outcome`. Raises InvalidInputError, and as lease_steps.classify_outcome."""
    return lease_steps.classify_outcome(
        _payload(event, lease_steps.ClassifyPayload),
        streams=control_plane.streams(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def release(event: Mapping[str, Any]) -> dict[str, Any]:
    """`release_lease`. Raises InvalidInputError, and as lease_steps.release_lease."""
    return lease_steps.release_lease(
        _payload(event, lease_steps.ReleasePayload),
        streams=control_plane.streams(),
        starts=control_plane.starts(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def execution_over(detail: Mapping[str, Any]) -> dict[str, Any]:
    """`execution_watch`. Raises InvalidInputError, and as lease_steps.release_after_execution."""
    return lease_steps.release_after_execution(
        _payload(detail, lease_steps.ExecutionOver),
        streams=control_plane.streams(),
        starts=control_plane.starts(),
        now_ms=control_plane.now_ms(),
        policy=control_plane.policy(),
    )


def commands() -> StreamCommands:
    """What `stream_api` serves."""
    return control_plane.commands()


def check_operator(event: HttpEvent) -> None:
    """Let only those pass who know the API's token.

    Raises:
        RequestRefusedError: UNAUTHORIZED.
        StoreUnavailableError: the token cannot be read; nobody passes.
    """
    scheme, _, presented = event.headers.get("authorization", "").partition(" ")
    fits = hmac.compare_digest(presented.strip().encode(), control_plane.api_token().encode())
    if scheme.lower() != "bearer" or not fits:
        raise RequestRefusedError(
            "UNAUTHORIZED", 401, "The bearer token is missing or wrong.", remedy="Set LIVEDUB_API_TOKEN."
        )


def read_registration(event: HttpEvent) -> StreamRegistration:
    """The body of a PUT; empty means all defaults. Raises RequestRefusedError."""
    return parse_body(body_bytes(event) or b"{}", StreamRegistration)


def read_change(event: HttpEvent) -> SettingsChange:
    """The body of a PATCH. Raises RequestRefusedError."""
    return parse_body(body_bytes(event), SettingsChange)


def _payload(event: Mapping[str, Any], model: type[_Model]) -> _Model:
    try:
        return model.model_validate(event)
    except ValidationError as error:
        # Names and reasons only: the state machine's data may hold a worker's words.
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InvalidInputError(
            f"The event is no {model.__name__}: {problems[:500]}.",
            remedy="Deploy functions and state machine together.",
        ) from None
