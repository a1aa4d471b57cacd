"""What the library's API does: the operations behind REST and GraphQL, each once.

Everything raises LibraryError with a stable code. What an operation needs comes from `LibraryParts`, which connects to
things when they are first asked for: a list of assets must not wait for the storage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol
from uuid import UUID

from livedub import __version__
from livedub.errors import LivedubError
from livedub.library.api.api_types import (
    AssetCount,
    AssetFilter,
    JobCallback,
    JobCount,
    JobEventList,
    JobFilter,
    PartStatus,
    PresetList,
    PresignedUrl,
    PresignedUrls,
    SystemStatus,
)
from livedub.library.api.refusals import problem
from livedub.library.assets import AssetStore
from livedub.library.jobs import JobStore
from livedub.library.library_errors import LibraryError, LibraryErrorCode, MissingKeyError
from livedub.library.library_settings import LibrarySettings
from livedub.library.media_types import MEDIA_EXTENSIONS, content_type_of
from livedub.library.object_keys import ObjectInfo, check_key, check_prefix, has_extension
from livedub.library.presets import PresetStore
from livedub.library.types import (
    Asset,
    AssetPage,
    AssetStatus,
    BucketRole,
    Job,
    JobPage,
    JobRequest,
    JobState,
    MediaError,
    PageRequest,
    Preset,
    ScanResult,
    TrimRequest,
)

logger = logging.getLogger(__name__)


class UrlSigner(Protocol):
    """As much of the storage as the API needs."""

    def check(self) -> None:
        """Return where both buckets are there and let us in. Raises LibraryError."""
        ...

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """What is known of an object. Raises LibraryError, NO_SUCH_KEY among others."""
        ...

    def get_presigned_url(
        self, bucket: str, key: str, method: Literal["GET", "PUT"], expires_s: int, content_type: str
    ) -> str:
        """An address that is good for one thing. Raises LibraryError."""
        ...


class JobQueue(Protocol):
    """As much of an executor as the API needs."""

    def submit(self, job: Job) -> None:
        """See `executor.Executor`."""
        ...

    def cancel(self, job: Job) -> None:
        """See `executor.Executor`."""
        ...


class CallbackCheck(Protocol):
    """Lets genuine callbacks through, each once."""

    def check(self, job_id: UUID, headers: Mapping[str, str], body: bytes) -> None:
        """See `callback_auth.CallbackGate`."""
        ...


class LibraryParts(Protocol):
    """What the operations work on."""

    @property
    def settings(self) -> LibrarySettings:
        """The environment."""
        ...

    @property
    def assets(self) -> AssetStore:
        """The catalogue's assets."""
        ...

    @property
    def jobs(self) -> JobStore:
        """The catalogue's jobs."""
        ...

    @property
    def presets(self) -> PresetStore:
        """The catalogue's presets."""
        ...

    @property
    def storage(self) -> UrlSigner:
        """Where the files are."""
        ...

    @property
    def queue(self) -> JobQueue:
        """Who runs jobs."""
        ...

    @property
    def callbacks(self) -> CallbackCheck:
        """What checks callbacks."""
        ...

    def scan(self, prefix: str) -> ScanResult:
        """Compare the bucket `in` with the catalogue."""
        ...


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class LibraryService:
    """The operations. Methods block and may be called from any thread."""

    def __init__(self, parts: LibraryParts, now: Callable[[], datetime] = _utc_now) -> None:
        """`now` is the time, with its zone."""
        self._parts = parts
        self._now = now

    def scan(self, prefix: str) -> ScanResult:
        """Look what is in the bucket `in` and enter it. Raises BAD_KEY for a prefix that no key can have."""
        return self._parts.scan(check_prefix(prefix))

    def assets(self, page: PageRequest, wanted: AssetFilter) -> AssetPage:
        """Assets that fit, in order of bucket and key. Raises BAD_KEY for a prefix that no key can have."""
        return self._parts.assets.list(
            page,
            search=wanted.search,
            prefix=check_prefix(wanted.prefix),
            status=wanted.status,
            bucket=wanted.bucket,
            kind=wanted.kind,
        )

    def asset(self, asset_id: UUID) -> Asset:
        """One asset. Raises NO_SUCH_ASSET."""
        return self._parts.assets.get(asset_id)

    def upload_url(self, key: str) -> PresignedUrl:
        """An address to upload a file to the bucket `in`.

        Raises:
            LibraryError: BAD_KEY; UNSUPPORTED_TYPE for a name that no scan would look at.
        """
        check_key(key)
        if not has_extension(key, MEDIA_EXTENSIONS):
            raise LibraryError(
                LibraryErrorCode.UNSUPPORTED_TYPE,
                f"{key!r} has none of the extensions that the library keeps.",
                f"Take one of {' '.join(sorted(MEDIA_EXTENSIONS))}",
            )
        return self._presigned(BucketRole.IN, key, "PUT")

    def download_url(self, asset_id: UUID) -> PresignedUrl:
        """An address to download an asset. Raises NO_SUCH_ASSET, or NO_SUCH_KEY where the file is gone."""
        asset = self._parts.assets.get(asset_id)
        if asset.status is AssetStatus.GONE:
            raise MissingKeyError(self._bucket(asset.bucket), asset.key)
        return self._presigned(asset.bucket, asset.key, "GET")

    def output_urls(self, job_id: UUID) -> PresignedUrls:
        """Addresses to download what a job wrote; none before it is completed. Raises NO_SUCH_JOB."""
        outputs = self._parts.jobs.get(job_id).outputs
        return PresignedUrls(
            items=tuple(self._presigned(BucketRole.OUT, output.key, "GET") for output in outputs)
        )

    def create_job(self, request: JobRequest, *, idempotency_key: str | None = None) -> Job:
        """Enter a job and put it into the queue. With a key used before: the job that was made then.

        Where the queue is down the job stays PENDING, and whoever sweeps the catalogue queues it later.

        Raises:
            LibraryError: BAD_KEY, NO_SUCH_KEY, UNKNOWN_PRESET, TRIM_OUTSIDE_DURATION, OUTPUT_IN_USE.
        """
        check_key(request.source_key)
        if request.output_key is not None:
            check_key(request.output_key)
        self._check_source(request)
        job = self._parts.jobs.create(request, idempotency_key=idempotency_key)
        return self._queued(job)

    def job(self, job_id: UUID) -> Job:
        """One job. Raises NO_SUCH_JOB."""
        return self._parts.jobs.get(job_id)

    def jobs(self, page: PageRequest, wanted: JobFilter) -> JobPage:
        """Jobs that fit, the newest first."""
        return self._parts.jobs.list(
            page, state=wanted.state, kind=wanted.kind, source_key=wanted.source_key or None
        )

    def job_events(self, job_id: UUID) -> JobEventList:
        """What happened to a job. Raises NO_SUCH_JOB."""
        self._parts.jobs.get(job_id)
        return JobEventList(items=self._parts.jobs.events(job_id))

    def cancel_job(self, job_id: UUID) -> Job:
        """Nobody wants it any more. Raises NO_SUCH_JOB; ILLEGAL_TRANSITION where it has ended."""
        job = self._parts.jobs.cancel(job_id)
        try:
            self._parts.queue.cancel(job)
        except LibraryError as error:
            # Whoever works on it asks the catalogue too, only later.
            logger.warning("job %s is cancelled, its worker could not be told: %s", job.id, error.message)
        return job

    def retry_job(self, job_id: UUID) -> Job:
        """Queue a failed or cancelled job again. Raises NO_SUCH_JOB; ILLEGAL_TRANSITION in any other state."""
        return self._queued(self._parts.jobs.retry(job_id))

    def check_callback(self, job_id: UUID, headers: Mapping[str, str], body: bytes) -> None:
        """Return where a callback is genuine and new. Raises CALLBACK_FORGED, _EXPIRED or _REPLAYED."""
        self._parts.callbacks.check(job_id, headers, body)

    def take_callback(self, job_id: UUID, callback: JobCallback) -> Job:
        """Enter how a job ended. What is known already changes nothing.

        Raises:
            LibraryError: NO_SUCH_JOB; ILLEGAL_TRANSITION, FENCED or CANCELLED where the job stands elsewhere.
        """
        jobs = self._parts.jobs
        job = jobs.get(job_id)
        if job.state is callback.state:
            return job
        if callback.state is JobState.CANCELLED:
            return jobs.cancel(job_id)
        if callback.error is not None:
            return jobs.fail(job_id, callback.attempt, callback.error)
        return jobs.complete(job_id, callback.attempt, callback.outputs)

    def presets(self) -> PresetList:
        """Every preset."""
        return PresetList(items=self._parts.presets.list())

    def preset(self, name: str) -> Preset:
        """One preset. Raises UNKNOWN_PRESET."""
        return self._parts.presets.get(name)

    def put_preset(self, name: str, preset: Preset) -> tuple[bool, Preset]:
        """Enter or replace a preset of one's own; True where it is new. Raises PRESET_BUILTIN, INVALID_REQUEST."""
        if preset.name != name:
            raise LibraryError(
                LibraryErrorCode.INVALID_REQUEST,
                f"The preset in the body is called {preset.name!r}, the address says {name!r}.",
                "Give the same name twice.",
            )
        return self._parts.presets.put(preset), preset

    def delete_preset(self, name: str) -> None:
        """Take out a preset of one's own. Raises UNKNOWN_PRESET, PRESET_BUILTIN."""
        self._parts.presets.delete(name)

    def status(self) -> SystemStatus:
        """What answers and how much there is. Never raises for a service that is down: it says so."""
        parts = (
            # Not `self._parts.jobs.counts`: that it cannot even be connected to is part of the answer.
            _part("catalogue", lambda: self._parts.jobs.counts()),  # noqa: PLW0108
            _part("storage", lambda: self._parts.storage.check()),  # noqa: PLW0108
        )
        assets, jobs = self._counts() if parts[0].ok else ((), ())
        return SystemStatus(
            ok=all(part.ok for part in parts),
            version=__version__,
            executor=self._parts.settings.executor.value,
            parts=parts,
            assets=assets,
            jobs=jobs,
        )

    def _counts(self) -> tuple[tuple[AssetCount, ...], tuple[JobCount, ...]]:
        assets, jobs = self._parts.assets.counts(), self._parts.jobs.counts()
        return (
            tuple(AssetCount(status=status, count=assets.get(status, 0)) for status in AssetStatus),
            tuple(JobCount(state=state, count=jobs.get(state, 0)) for state in JobState),
        )

    def _queued(self, job: Job) -> Job:
        if job.state is not JobState.PENDING:
            return job
        try:
            self._parts.queue.submit(job)
        except LibraryError as error:
            if error.code is not LibraryErrorCode.QUEUE_DOWN:
                raise
            logger.warning("job %s waits in the catalogue until the queue is back: %s", job.id, error.message)
        return job

    def _check_source(self, request: JobRequest) -> None:
        """Refuse at once what is known to fail; what only the file can tell, the job will say."""
        asset = self._parts.assets.find(BucketRole.IN, request.source_key)
        if asset is None or asset.status is AssetStatus.GONE:
            self._parts.storage.stat(self._bucket(BucketRole.IN), request.source_key)
        elif isinstance(request, TrimRequest) and asset.duration_ms is not None:
            _check_span(request, asset.duration_ms)

    def _presigned(self, bucket: BucketRole, key: str, method: Literal["GET", "PUT"]) -> PresignedUrl:
        expires_s = self._parts.settings.url_expires_s
        # Rounded down to the second and taken before signing: it is never good for less than what it says.
        expires_at = self._now().replace(microsecond=0) + timedelta(seconds=expires_s)
        content_type = content_type_of(key)
        url = self._parts.storage.get_presigned_url(
            self._bucket(bucket), key, method, expires_s, content_type if method == "PUT" else ""
        )
        return PresignedUrl(url=url, method=method, key=key, content_type=content_type, expires_at=expires_at)

    def _bucket(self, role: BucketRole) -> str:
        settings = self._parts.settings
        return settings.bucket_in if role is BucketRole.IN else settings.bucket_out


def _part(name: Literal["catalogue", "storage"], ask: Callable[[], object]) -> PartStatus:
    error: MediaError | None = None
    try:
        ask()
    except LivedubError as raised:
        logger.warning("%s does not answer: %s", name, raised)
        error = problem(raised)
    return PartStatus(name=name, ok=error is None, error=error)


def _check_span(request: TrimRequest, duration_ms: int) -> None:
    span = request.parameters
    # A container's duration is rounded; the last frame may reach a little beyond it.
    if span.start_ms >= duration_ms or span.end_ms > duration_ms + 1_000:
        raise LibraryError(
            LibraryErrorCode.TRIM_OUTSIDE_DURATION,
            f"{span.start_ms} to {span.end_ms} ms lies outside {request.source_key!r}, which has {duration_ms} ms.",
            "Choose start_ms and end_ms within it.",
        )
