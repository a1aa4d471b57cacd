"""The library's API as a client sees it: typed answers, and the API's own errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from livedub.bearer_api_client import BearerApi
from livedub.library.api.api_types import (
    AssetFilter,
    JobEventList,
    JobFilter,
    PresetList,
    PresignedUrls,
    SystemStatus,
)
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import (
    Asset,
    AssetPage,
    Job,
    JobPage,
    JobRequest,
    MediaError,
    Preset,
    ScanRequest,
    ScanResult,
)

_TIMEOUT_S = 35.0
"""API Gateway gives up after 30 s; what it says then is worth hearing."""
_PAGE = 200

_Answer = TypeVar("_Answer", bound=BaseModel)


class LibraryApi(BearerApi):
    """A context manager over one connection pool. Every method raises LibraryError: the API's, or ENDPOINT_DOWN.

    Reads are asked a second time when the connection broke; a change is not, because it may have been made.
    """

    def __init__(self, url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """`url` is the API's address without `/api`.

        Raises:
            ConfigurationError: `url` is no http(s) address.
        """
        super().__init__(
            url,
            token,
            timeout_s=_TIMEOUT_S,
            variable="LIBRARY_API_URL",
            example="http://127.0.0.1:8090",
            transport=transport,
        )

    def scan(self, prefix: str = "") -> ScanResult:
        """Enter what is new, changed or gone in the bucket `in`, and read some of it."""
        return self._ask(ScanResult, "POST", "/api/assets/scan", ScanRequest(prefix=prefix))

    def assets(self, wanted: AssetFilter, *, most: int | None = None) -> Iterator[Asset]:
        """Assets that fit, page by page; `most` of them at most."""
        for page in self._pages(AssetPage, "/api/assets", wanted, most):
            yield from page.items

    def jobs(self, wanted: JobFilter, *, most: int | None = None) -> Iterator[Job]:
        """Jobs that fit, the newest first; `most` of them at most."""
        for page in self._pages(JobPage, "/api/jobs/", wanted, most):
            yield from page.items

    def create_job(self, request: JobRequest, *, idempotency_key: str = "") -> Job:
        """Enter a job. With a key it is safe to repeat, and repeated when the connection broke."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        return self._ask(Job, "POST", "/api/jobs/", request, headers=headers)

    def job(self, job_id: UUID) -> Job:
        """One job."""
        return self._ask(Job, "GET", f"/api/jobs/{job_id}")

    def job_events(self, job_id: UUID) -> JobEventList:
        """What happened to a job."""
        return self._ask(JobEventList, "GET", f"/api/jobs/{job_id}/events")

    def output_urls(self, job_id: UUID) -> PresignedUrls:
        """Addresses to download what a job wrote."""
        return self._ask(PresignedUrls, "GET", f"/api/jobs/{job_id}/output-urls")

    def cancel_job(self, job_id: UUID) -> Job:
        """Nobody wants it any more."""
        return self._ask(Job, "POST", f"/api/jobs/{job_id}/cancel")

    def retry_job(self, job_id: UUID) -> Job:
        """Put a failed or cancelled job into the queue again."""
        return self._ask(Job, "POST", f"/api/jobs/{job_id}/retry")

    def presets(self) -> tuple[Preset, ...]:
        """Every preset, by name."""
        return self._ask(PresetList, "GET", "/api/presets").items

    def status(self) -> SystemStatus:
        """How the library is."""
        return self._ask(SystemStatus, "GET", "/api/status")

    def _pages(
        self, kind: type[_Answer], path: str, wanted: BaseModel, most: int | None
    ) -> Iterator[_Answer]:
        filters = wanted.model_dump(mode="json", exclude_defaults=True)
        left, cursor = most, ""
        while left is None or left > 0:
            limit = _PAGE if left is None else min(left, _PAGE)
            page: Any = self._ask(kind, "GET", path, query={**filters, "limit": limit, "cursor": cursor})
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return
            left = None if left is None else left - len(page.items)

    def _ask(
        self,
        answer: type[_Answer],
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _Answer:
        try:
            response = self._exchange(
                method,
                path,
                body=None if body is None else body.model_dump(mode="json", exclude_none=True),
                query=query,
                headers=headers,
                repeatable=method == "GET" or bool(headers),
            )
        except httpx.HTTPError as error:
            raise LibraryError(
                LibraryErrorCode.ENDPOINT_DOWN,
                f"The library's API at {self._url} does not answer: {error or type(error).__name__}.",
                "Is livedub up still running, and LIBRARY_API_URL the right address?",
            ) from error
        if not response.is_success:
            raise self._refusal(response)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise self._stranger(response) from error

    def _refusal(self, response: httpx.Response) -> LibraryError:
        try:
            refused = MediaError.model_validate_json(response.content)
        except ValidationError:
            return self._stranger(response)
        return LibraryError(refused.code, refused.message, refused.remedy)

    def _stranger(self, response: httpx.Response) -> LibraryError:
        return LibraryError(
            LibraryErrorCode.ENDPOINT_DOWN,
            f"{self._url} answered {response.status_code} to {response.request.method} {response.request.url.path}, "
            "and not as the library's API does.",
            "Check LIBRARY_API_URL; is this livedub as new as the deployment?",
        )
