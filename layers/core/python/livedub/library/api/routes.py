"""The library's REST routes and their OpenAPI document, by Powertools; GraphQL is one of them.

A route parses, calls one operation of `LibraryService` and returns. Who may ask is checked before, in `entry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast
from uuid import UUID

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from pydantic import BaseModel

from livedub.library.api.answers import HEADERS, JSON, json_answer, refused
from livedub.library.api.api_types import (
    AssetFilter,
    GraphqlAnswer,
    GraphqlRequest,
    IdempotencyKey,
    JobCallback,
    JobEventList,
    JobFilter,
    KeyText,
    PresetList,
    PresignedUrl,
    PresignedUrls,
    SearchText,
    SystemStatus,
    UploadRequest,
)
from livedub.library.api.refusals import malformed_request
from livedub.library.library_errors import LibraryErrorCode
from livedub.library.types import (
    DEFAULT_PAGE_ITEMS,
    MAX_PAGE_ITEMS,
    Asset,
    AssetPage,
    AssetStatus,
    BucketRole,
    Job,
    JobKind,
    JobPage,
    JobRequest,
    JobState,
    MediaError,
    PageRequest,
    Preset,
    PresetName,
    ScanRequest,
    ScanResult,
    StreamKind,
)

if TYPE_CHECKING:
    from livedub.library.api.service import LibraryService

OPENAPI_PATH = "/api/openapi.json"
GRAPHQL_PATH = "/graphql"

app = APIGatewayHttpResolver(enable_validation=True)

_Body = TypeVar("_Body", bound=BaseModel)
_BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
_MEANINGS = {
    401: "The bearer token is missing or wrong.",
    404: "There is no such thing.",
    409: "Its state does not allow that.",
    413: "The body is too large.",
    422: "The request cannot be served as it is; the code says why.",
    500: "The library has failed; its log says why.",
    502: "The storage refuses.",
    503: "Catalogue or storage do not answer; try again.",
}
_ALWAYS = (401, 413, 422, 500, 502, 503)


def _answers(
    model: type[BaseModel] | None, *more: int, status: int = 200, also: Mapping[int, str] | None = None
) -> Any:
    """What a route answers, for the document: `model` with `status`, and errors."""
    good = {} if model is None else {"content": {JSON: {"model": model}}}
    answers: dict[int, Any] = {status: {"description": "Done.", **good}}
    for other, meaning in (also or {}).items():
        answers[other] = {"description": meaning, **good}
    for error in sorted({*_ALWAYS, *more}):
        answers[error] = {
            "description": _MEANINGS[error],
            "content": {JSON: {"model": MediaError}},
        }
    return answers


_Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_ITEMS, description="Items of a page at most.")]
_Cursor = Annotated[str, Query(max_length=4_096, description="`next_cursor` of the page before.")]
_Search = Annotated[SearchText, Query(description="Text anywhere in the key, in any case.")]


@app.post(
    "/api/assets/scan",
    summary="Look what is in the bucket `in`",
    operation_id="scanAssets",
    tags=["assets"],
    responses=_answers(ScanResult),
    security=_BEARER,
)
def scan_assets(request: Annotated[ScanRequest, Body()]) -> Response[str]:
    """Enter what is new, changed or gone. Safe to repeat, and to run twice at once."""
    return json_answer(200, _library().scan(_strictly(request).prefix))


@app.get(
    "/api/assets",
    summary="List and search assets",
    operation_id="listAssets",
    tags=["assets"],
    responses=_answers(AssetPage),
    security=_BEARER,
)
def list_assets(
    limit: _Limit = DEFAULT_PAGE_ITEMS,
    cursor: _Cursor = "",
    search: _Search = "",
    prefix: Annotated[KeyText, Query(description="How the key begins.")] = "",
    status: Annotated[AssetStatus | None, Query()] = None,
    bucket: Annotated[BucketRole | None, Query()] = None,
    kind: Annotated[StreamKind | None, Query(description="Only files with such a stream.")] = None,
) -> Response[str]:
    """In order of bucket and key."""
    page = PageRequest(limit=limit, cursor=cursor or None)
    wanted = AssetFilter(search=search, prefix=prefix, status=status, bucket=bucket, kind=kind)
    return json_answer(200, _library().assets(page, wanted))


@app.post(
    "/api/assets/upload-url",
    summary="An address to upload a file",
    operation_id="createUploadUrl",
    tags=["assets"],
    responses=_answers(PresignedUrl),
    security=_BEARER,
)
def upload_url(request: Annotated[UploadRequest, Body()]) -> Response[str]:
    """PUT the file there, then scan."""
    return json_answer(200, _library().upload_url(_strictly(request).key))


@app.get(
    "/api/assets/<asset_id>",
    summary="One asset",
    operation_id="getAsset",
    tags=["assets"],
    responses=_answers(Asset, 404),
    security=_BEARER,
)
def get_asset(asset_id: UUID) -> Response[str]:
    """With what is known of its content."""
    return json_answer(200, _library().asset(asset_id))


@app.get(
    "/api/assets/<asset_id>/download-url",
    summary="An address to download an asset",
    operation_id="getDownloadUrl",
    tags=["assets"],
    responses=_answers(PresignedUrl, 404),
    security=_BEARER,
)
def download_url(asset_id: UUID) -> Response[str]:
    """GET it there, whole or by Range."""
    return json_answer(200, _library().download_url(asset_id))


def list_jobs(
    limit: _Limit = DEFAULT_PAGE_ITEMS,
    cursor: _Cursor = "",
    state: Annotated[JobState | None, Query()] = None,
    kind: Annotated[JobKind | None, Query()] = None,
    source_key: Annotated[KeyText, Query(description="Jobs on this file.")] = "",
) -> Response[str]:
    """The newest first."""
    page = PageRequest(limit=limit, cursor=cursor or None)
    return json_answer(200, _library().jobs(page, JobFilter(state=state, kind=kind, source_key=source_key)))


def create_job(
    request: Annotated[JobRequest, Body(discriminator="kind")],
    idempotency_key: Annotated[
        IdempotencyKey | None,
        Header(alias="Idempotency-Key", description="Repeating a request with its key makes no second job."),
    ] = None,
) -> Response[str]:
    """The answer comes at once; ask for the job to see how far it is."""
    return json_answer(201, _library().create_job(_strictly(request), idempotency_key=idempotency_key))


for _path, _shown in (("/api/jobs/", True), ("/api/jobs", False)):
    # API Gateway hands the path on as it came, and both ways to write it are common.
    app.get(
        _path,
        summary="List jobs",
        operation_id="listJobs",
        tags=["jobs"],
        responses=_answers(JobPage),
        security=_BEARER,
        include_in_schema=_shown,
    )(list_jobs)
    app.post(
        _path,
        summary="Transcode, trim or dub a file",
        operation_id="createJob",
        tags=["jobs"],
        responses=_answers(Job, 404, 409, status=201),
        security=_BEARER,
        include_in_schema=_shown,
    )(create_job)


@app.get(
    "/api/jobs/<job_id>",
    summary="One job",
    operation_id="getJob",
    tags=["jobs"],
    responses=_answers(Job, 404),
    security=_BEARER,
)
def get_job(job_id: UUID) -> Response[str]:
    """With its state and progress."""
    return json_answer(200, _library().job(job_id))


@app.get(
    "/api/jobs/<job_id>/events",
    summary="What happened to a job",
    operation_id="listJobEvents",
    tags=["jobs"],
    responses=_answers(JobEventList, 404),
    security=_BEARER,
)
def get_job_events(job_id: UUID) -> Response[str]:
    """The oldest first."""
    return json_answer(200, _library().job_events(job_id))


@app.get(
    "/api/jobs/<job_id>/output-urls",
    summary="Addresses to download what a job wrote",
    operation_id="listOutputUrls",
    tags=["jobs"],
    responses=_answers(PresignedUrls, 404),
    security=_BEARER,
)
def get_output_urls(job_id: UUID) -> Response[str]:
    """None before it is completed."""
    return json_answer(200, _library().output_urls(job_id))


@app.post(
    "/api/jobs/<job_id>/cancel",
    summary="Cancel a job",
    operation_id="cancelJob",
    tags=["jobs"],
    responses=_answers(Job, 404, 409),
    security=_BEARER,
)
def cancel_job(job_id: UUID) -> Response[str]:
    """Whoever works on it stops within seconds and leaves nothing behind."""
    return json_answer(200, _library().cancel_job(job_id))


@app.post(
    "/api/jobs/<job_id>/retry",
    summary="Try a failed or cancelled job again",
    operation_id="retryJob",
    tags=["jobs"],
    responses=_answers(Job, 404, 409),
    security=_BEARER,
)
def retry_job(job_id: UUID) -> Response[str]:
    """The same job, once more in the queue."""
    return json_answer(200, _library().retry_job(job_id))


@app.post(
    "/api/jobs/<job_id>/callback",
    summary="Told by whoever ran a job: how it ended",
    operation_id="takeCallback",
    tags=["callbacks"],
    responses=_answers(Job, 404, 409),
    security=[{"signature": []}],
)
def take_callback(job_id: UUID, callback: Annotated[JobCallback, Body()]) -> Response[str]:
    """Signed with HMAC-SHA256 (X-Livedub-Timestamp, -Nonce, -Signature) instead of a token; each signature counts once."""
    return json_answer(200, _library().take_callback(job_id, _strictly(callback)))


@app.get(
    "/api/presets",
    summary="List presets",
    operation_id="listPresets",
    tags=["presets"],
    responses=_answers(PresetList),
    security=_BEARER,
)
def list_presets() -> Response[str]:
    """Those that come with livedub and one's own."""
    return json_answer(200, _library().presets())


_PresetPath = Annotated[PresetName, Path()]


@app.get(
    "/api/presets/<name>",
    summary="One preset",
    operation_id="getPreset",
    tags=["presets"],
    responses=_answers(Preset, 404),
    security=_BEARER,
)
def get_preset(name: _PresetPath) -> Response[str]:
    """How it encodes."""
    return json_answer(200, _library().preset(name))


@app.put(
    "/api/presets/<name>",
    summary="Enter or replace a preset of one's own",
    operation_id="putPreset",
    tags=["presets"],
    responses=_answers(Preset, 404, 409, also={201: "It is new."}),
    security=_BEARER,
)
def put_preset(name: _PresetPath, preset: Annotated[Preset, Body()]) -> Response[str]:
    """Jobs keep the preset that they were made with."""
    new, kept = _library().put_preset(name, _strictly(preset))
    return json_answer(201 if new else 200, kept)


@app.delete(
    "/api/presets/<name>",
    summary="Take out a preset of one's own",
    operation_id="deletePreset",
    tags=["presets"],
    responses=_answers(None, 404, 409, status=204),
    security=_BEARER,
)
def delete_preset(name: _PresetPath) -> Response[str]:
    """Jobs keep the preset that they were made with."""
    _library().delete_preset(name)
    return Response(status_code=204, body="", headers=dict(HEADERS))


@app.get(
    "/api/status",
    summary="How the library is",
    operation_id="getStatus",
    tags=["status"],
    responses=_answers(SystemStatus),
    security=_BEARER,
)
def get_status() -> Response[str]:
    """What answers, and how much there is."""
    return json_answer(200, _library().status())


@app.post(
    GRAPHQL_PATH,
    summary="The same by GraphQL",
    operation_id="graphql",
    tags=["graphql"],
    responses=_answers(GraphqlAnswer),
    security=_BEARER,
)
def graphql(request: Annotated[GraphqlRequest, Body()]) -> Response[str]:
    """Answers 200 with `errors` where a query cannot be served."""
    from livedub.library.api.graphql_schema import execute  # noqa: PLC0415 - costs half a second, once

    return json_answer(200, execute(_strictly(request), _library()))


@app.get(
    OPENAPI_PATH,
    summary="This document",
    operation_id="getOpenapi",
    tags=["status"],
    include_in_schema=False,
)
def get_openapi() -> Response[str]:
    """Needs no token."""
    from livedub.library.api.openapi import openapi_document  # noqa: PLC0415 - it looks at these routes

    return Response(status_code=200, content_type=JSON, body=openapi_document(), headers=dict(HEADERS))


@app.not_found  # pyright: ignore[reportUnknownMemberType]
def no_such_route(_error: Exception) -> Response[str]:
    """Nothing is served there, or not by this method."""
    return _nowhere()


@app.exception_handler(RequestValidationError)
def malformed(error: RequestValidationError) -> Response[str]:
    """The request is not what the document says."""
    items = error.errors()
    where = {item["loc"][0] for item in items}
    if "path" in where and app.current_event.http_method not in _methods_of(app.current_event.path):
        # A word such as `scan` stands there, by another method; as a parameter it means nothing.
        return _nowhere()
    if "response" in where:
        # It was not the request: what a route made is not what it promises.
        return json_answer(*refused(error))
    return json_answer(*refused(malformed_request(items)))


@app.exception_handler(Exception)
def failed(error: Exception) -> Response[str]:
    """Whatever an operation raised."""
    return json_answer(*refused(error))


def _nowhere() -> Response[str]:
    path, method = app.current_event.path, app.current_event.http_method
    allowed = sorted(_methods_of(path))
    answer = json_answer(
        HTTPStatus.METHOD_NOT_ALLOWED if allowed else HTTPStatus.NOT_FOUND,
        MediaError(
            code=LibraryErrorCode.NO_SUCH_ROUTE,
            message=f"{method} {path[:200]} is not served.",
            remedy=f"Take {' or '.join(allowed)}." if allowed else f"GET {OPENAPI_PATH} says what is.",
        ),
    )
    if allowed:
        answer.headers["allow"] = ", ".join(allowed)
    return answer


def _methods_of(path: str) -> set[str]:
    """By which methods something is served there. What stands there literally hides what a parameter would also match."""
    literally = _matching(path, app._static_routes)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return literally or _matching(path, app._dynamic_routes)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _matching(path: str, routes: object) -> set[str]:
    """The resolver knows which routes there are, and does not say."""
    return {str(route.method) for route in cast("Iterable[Any]", routes) if route.rule.match(path)}


def _strictly(parsed: _Body) -> _Body:
    """The body once more, as it came: the resolver has taken `false` for 0 and "5" for 5, which the document forbids.

    Raises:
        ValidationError: it is not quite what the document says.
    """
    body = app.current_event.decoded_body or ""
    return type(parsed).model_validate_json(body, strict=True)


def _library() -> LibraryService:
    from livedub.library.api import wiring  # noqa: PLC0415 - brings settings and psycopg, with the first call

    return wiring.library()
