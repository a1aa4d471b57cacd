"""GraphQL over the library's operations: the same ones as REST, the same types, the same codes.

Errors carry `extensions.code` and `extensions.remedy`. A query is measured before it is run (`graphql_limits`), and a
page holds no more here than by REST.
"""

# Types are made at run time, see graphql_types.
# pyright: reportInvalidTypeForm=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

from livedub.library.api.answers import refused
from livedub.library.api.api_types import AssetFilter, GraphqlAnswer, GraphqlRequest, JobFilter
from livedub.library.api.graphql_limits import check_query
from livedub.library.api.graphql_types import (
    SCALARS,
    Asset,
    AssetPage,
    Job,
    JobEvent,
    JobPage,
    JobParametersInput,
    Preset,
    PresetInput,
    PresignedUrl,
    ScanResult,
    SystemStatus,
)
from livedub.library.library_errors import LibraryErrorCode
from livedub.library.types import (
    DEFAULT_PAGE_ITEMS,
    JOB_REQUEST,
    AssetStatus,
    BucketRole,
    JobKind,
    JobState,
    PageRequest,
    StreamKind,
)

if TYPE_CHECKING:
    from strawberry.types import ExecutionContext

    from livedub.library.api.service import LibraryService

_First = Annotated[int, strawberry.argument(description="Items of a page at most; 200 is the most there is.")]
_After = Annotated[str, strawberry.argument(description="`nextCursor` of the page before.")]


@strawberry.type
class Query:
    """What can be asked."""

    @strawberry.field(description="Assets that fit all that is given, in order of bucket and key.")
    @staticmethod
    def assets(
        info: Info,
        first: _First = DEFAULT_PAGE_ITEMS,
        after: _After = "",
        search: str = "",
        prefix: str = "",
        status: AssetStatus | None = None,
        bucket: BucketRole | None = None,
        kind: StreamKind | None = None,
    ) -> AssetPage:
        """See LibraryService.assets."""
        wanted = AssetFilter(search=search, prefix=prefix, status=status, bucket=bucket, kind=kind)
        return AssetPage.from_pydantic(_library(info).assets(_page(first, after), wanted))

    @strawberry.field(description="One asset.")
    @staticmethod
    def asset(info: Info, id: UUID) -> Asset | None:  # noqa: A002 - GraphQL's name for it
        """See LibraryService.asset."""
        return Asset.from_pydantic(_library(info).asset(id))

    @strawberry.field(description="An address to download an asset.")
    @staticmethod
    def download_url(info: Info, asset_id: UUID) -> PresignedUrl | None:
        """See LibraryService.download_url."""
        return PresignedUrl.from_pydantic(_library(info).download_url(asset_id))

    @strawberry.field(description="Jobs that fit all that is given, the newest first.")
    @staticmethod
    def jobs(
        info: Info,
        first: _First = DEFAULT_PAGE_ITEMS,
        after: _After = "",
        state: JobState | None = None,
        kind: JobKind | None = None,
        source_key: str = "",
    ) -> JobPage:
        """See LibraryService.jobs."""
        wanted = JobFilter(state=state, kind=kind, source_key=source_key)
        return JobPage.from_pydantic(_library(info).jobs(_page(first, after), wanted))

    @strawberry.field(description="One job.")
    @staticmethod
    def job(info: Info, id: UUID) -> Job | None:  # noqa: A002 - GraphQL's name for it
        """See LibraryService.job."""
        return Job.from_pydantic(_library(info).job(id))

    @strawberry.field(description="What happened to a job, the oldest first.")
    @staticmethod
    def job_events(info: Info, job_id: UUID) -> list[JobEvent] | None:
        """See LibraryService.job_events."""
        return [JobEvent.from_pydantic(event) for event in _library(info).job_events(job_id).items]

    @strawberry.field(description="Addresses to download what a job wrote; none before it is completed.")
    @staticmethod
    def output_urls(info: Info, job_id: UUID) -> list[PresignedUrl] | None:
        """See LibraryService.output_urls."""
        return [PresignedUrl.from_pydantic(url) for url in _library(info).output_urls(job_id).items]

    @strawberry.field(description="Every preset, by name.")
    @staticmethod
    def presets(info: Info) -> list[Preset]:
        """See LibraryService.presets."""
        return [Preset.from_pydantic(preset) for preset in _library(info).presets().items]

    @strawberry.field(description="One preset.")
    @staticmethod
    def preset(info: Info, name: str) -> Preset | None:
        """See LibraryService.preset."""
        return Preset.from_pydantic(_library(info).preset(name))

    @strawberry.field(description="What answers, who runs jobs, and how much there is.")
    @staticmethod
    def system_status(info: Info) -> SystemStatus:
        """See LibraryService.status."""
        return SystemStatus.from_pydantic(_library(info).status())


@strawberry.type
class Mutation:
    """What can be changed."""

    @strawberry.mutation(
        description="Look what is in the bucket `in` and enter what is new, changed or gone."
    )
    @staticmethod
    def scan_media_folder(info: Info, prefix: str = "") -> ScanResult:
        """See LibraryService.scan."""
        return ScanResult.from_pydantic(_library(info).scan(prefix))

    @strawberry.mutation(description="An address to upload a file to the bucket `in`.")
    @staticmethod
    def create_upload_url(info: Info, key: str) -> PresignedUrl | None:
        """See LibraryService.upload_url."""
        return PresignedUrl.from_pydantic(_library(info).upload_url(key))

    @strawberry.mutation(
        description="Transcode, trim or dub a file. Repeating it with its idempotency key makes no second job."
    )
    @staticmethod
    def create_job(
        info: Info,
        source_key: str,
        parameters: JobParametersInput,
        output_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job | None:
        """See LibraryService.create_job."""
        kind, given = _chosen(parameters)
        request = JOB_REQUEST.validate_python(
            {"kind": kind, "source_key": source_key, "output_key": output_key, "parameters": given}
        )
        return Job.from_pydantic(_library(info).create_job(request, idempotency_key=idempotency_key))

    @strawberry.mutation(description="Cancel a job.")
    @staticmethod
    def cancel_job(info: Info, id: UUID) -> Job | None:  # noqa: A002 - GraphQL's name for it
        """See LibraryService.cancel_job."""
        return Job.from_pydantic(_library(info).cancel_job(id))

    @strawberry.mutation(description="Put a failed or cancelled job into the queue again.")
    @staticmethod
    def retry_job(info: Info, id: UUID) -> Job | None:  # noqa: A002 - GraphQL's name for it
        """See LibraryService.retry_job."""
        return Job.from_pydantic(_library(info).retry_job(id))

    @strawberry.mutation(description="Enter or replace a preset of one's own.")
    @staticmethod
    def put_preset(info: Info, preset: PresetInput) -> Preset | None:
        """See LibraryService.put_preset."""
        model = preset.to_pydantic()
        _, kept = _library(info).put_preset(model.name, model)
        return Preset.from_pydantic(kept)

    @strawberry.mutation(description="Take out a preset of one's own; true, or an error.")
    @staticmethod
    def delete_preset(info: Info, name: str) -> bool:
        """See LibraryService.delete_preset."""
        _library(info).delete_preset(name)
        return True


class _Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Strawberry would log every one with its traceback; `execute` tells ours from the caller's."""


@functools.cache
def schema() -> strawberry.Schema:
    """The schema; built once."""
    return _Schema(query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map={**SCALARS}))


def sdl() -> str:
    """The schema in GraphQL's own language."""
    return schema().as_str() + "\n"


def execute(request: GraphqlRequest, library: LibraryService) -> GraphqlAnswer:
    """Run one query or mutation."""
    try:
        check_query(request.query, request.operationName)
    except Exception as error:  # noqa: BLE001 - told in GraphQL's way
        return GraphqlAnswer(errors=[_told(error)])
    result = schema().execute_sync(
        request.query,
        variable_values=request.variables,
        operation_name=request.operationName,
        context_value=library,
    )
    errors = [_of_graphql(error) for error in result.errors or ()]
    return GraphqlAnswer(data=result.data, errors=errors or None)


def _of_graphql(error: GraphQLError) -> dict[str, Any]:
    where = {name: value for name, value in error.formatted.items() if name in ("path", "locations")}
    if error.original_error is None or isinstance(error.original_error, GraphQLError):
        # GraphQL itself refused: a field that is not there, an argument of the wrong type.
        return {
            "message": error.message[:500],
            **where,
            "extensions": {"code": LibraryErrorCode.INVALID_REQUEST.value, "remedy": "See the schema."},
        }
    return {**_told(error.original_error), **where}


def _told(error: Exception) -> dict[str, Any]:
    _, problem = refused(error)
    return {
        "message": problem.message,
        "extensions": {"code": problem.code.value, "remedy": problem.remedy},
    }


def _library(info: Info) -> LibraryService:
    return info.context


def _page(first: int, after: str) -> PageRequest:
    return PageRequest(limit=first, cursor=after or None)


def _chosen(parameters: JobParametersInput) -> tuple[JobKind, Any]:
    for kind in JobKind:
        given = getattr(parameters, kind.value)
        if given:
            return kind, given.to_pydantic()
    raise AssertionError("GraphQL lets no input without a choice through")
