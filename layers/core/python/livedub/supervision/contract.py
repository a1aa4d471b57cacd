"""Wire formats of supervision: hooks, auth, path lists, work items, reports (golden files in tests/golden).

Relays sign what they send (`signing`). Times are Unix milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1
MAX_BODY_BYTES = 256 * 1024
"""Of a signed request; a path list of a few thousand paths fits."""

_ID = r"^[A-Za-z0-9_.:-]{1,128}$"
_Id = Annotated[str, Field(pattern=_ID)]
_Path = Annotated[str, Field(min_length=1, max_length=512)]
_Url = Annotated[str, Field(min_length=8, max_length=512)]


class Wire(BaseModel):
    """Strict base: unknown fields are an error, so a typo never passes silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MediaAddresses(Wire):
    """The media server beside the relay, as worker hosts reach it: URLs without a path."""

    play_base_url: _Url
    publish_base_url: _Url
    kick_url: Annotated[str, Field(max_length=512)] = ""


class SourceHook(Wire):
    """`POST /v1/hooks/publish` and `/v1/hooks/unpublish`: a path got or lost its publisher.

    `source_id` names one connection, unique over restarts of the media server: the relay sees to it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    relay_id: _Id
    path: _Path
    source_id: _Id
    source_type: Annotated[str, Field(max_length=64)] = ""
    occurred_at_ms: Annotated[int, Field(ge=0)]
    media: MediaAddresses


class MediaAuthorization(Wire):
    """`POST /v1/media/authorize`: may this connection do that? Answered 200 with a `MediaPermit`, else an error."""

    schema_version: Literal[1] = SCHEMA_VERSION
    relay_id: _Id
    action: Literal["publish", "read"]
    path: _Path
    credential: Annotated[str, Field(max_length=512, repr=False)] = ""
    remote_address: Annotated[str, Field(max_length=64)] = ""
    protocol: Annotated[str, Field(max_length=32)] = ""


class MediaPermit(Wire):
    """The answer to an allowed request; `generation` of a publisher of `out`, which replaces any older one."""

    allowed: Literal[True] = True
    stream_id: str
    generation: int | None = None


class PublishedPath(Wire):
    """One path somebody publishes at the moment."""

    path: _Path
    source_id: _Id


class PathReport(Wire):
    """`POST /v1/media/paths`: everything published on one media server, for reconcile."""

    schema_version: Literal[1] = SCHEMA_VERSION
    relay_id: _Id
    taken_at_ms: Annotated[int, Field(ge=0)]
    media: MediaAddresses
    paths: Annotated[list[PublishedPath], Field(max_length=5_000)]


class WorkItem(Wire):
    """What the state machine puts into the queue. The agent reads everything else from the stream's row."""

    schema_version: Literal[1] = SCHEMA_VERSION
    stream_id: str
    generation: Annotated[int, Field(ge=1)]
    execution: str
    heartbeat_s: Annotated[int, Field(ge=2, le=600)]


class WorkMessage(Wire):
    """A queue message: the work and the token whose success claims it. A refused claim means: start nothing."""

    claim_token: Annotated[str, Field(min_length=1, repr=False)]
    work: WorkItem


class WorkClaim(Wire):
    """The output that claims work (SendTaskSuccess on the claim token)."""

    agent_id: _Id


class WorkReport(Wire):
    """The output that ends the supervising task (SendTaskSuccess on the row's task token).

    `host_draining`: the host goes away, the stream shall continue elsewhere at once and for free.
    """

    outcome: Literal["ended", "source_lost", "drained", "crashed", "fenced"]
    detail: Annotated[str, Field(max_length=2_000)] = ""
    exit_code: int | None = None
    host_draining: bool = False


class ApiError(Wire):
    """The body of every 4xx and 5xx answer; `code` is stable, clients decide on it."""

    code: str
    message: str
    remedy: str = ""
