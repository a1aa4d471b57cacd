"""What only the API speaks of; everything else is in `livedub.library.types`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from livedub.library.types import (
    MAX_KEY_BYTES,
    AssetStatus,
    BucketRole,
    JobEvent,
    JobKind,
    JobOutput,
    JobState,
    Key,
    MediaError,
    Moment,
    Preset,
    StreamKind,
    Wire,
)

MAX_BODY_BYTES = 5 * 1024 * 1024
"""Of any request; Lambda takes 6 MB. Only a callback has more than some kilobytes: an HLS rendition has many parts."""
MAX_SEARCH_CHARACTERS = 200

KeyText = Annotated[str, Field(max_length=MAX_KEY_BYTES, pattern=r"^[^\x00]*$")]
SearchText = Annotated[str, Field(max_length=MAX_SEARCH_CHARACTERS, pattern=r"^[^\x00]*$")]
IdempotencyKey = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]


class AssetFilter(Wire):
    """Which assets: those that fit all that is given.

    Attributes:
        search: text anywhere in the key, in any case.
        prefix: how the key begins.
        kind: only files with such a stream.
    """

    search: SearchText = ""
    prefix: KeyText = ""
    status: AssetStatus | None = None
    bucket: BucketRole | None = None
    kind: StreamKind | None = None


class JobFilter(Wire):
    """Which jobs: those that fit all that is given."""

    state: JobState | None = None
    kind: JobKind | None = None
    source_key: KeyText = ""


class UploadRequest(Wire):
    """Under which key of the bucket `in` a file shall be uploaded."""

    key: Key


class PresignedUrl(Wire):
    """An address that lets whoever knows it do one thing with one object, for a while.

    Attributes:
        method: the HTTP method to use it with.
        key: the object.
        content_type: what the object is, by its name; an upload must send just this Content-Type.
        expires_at: from then on it is good for nothing.
    """

    url: str
    method: Literal["GET", "PUT"]
    key: Key
    content_type: str
    expires_at: Moment


class PresignedUrls(Wire):
    """One address for each file that a job wrote."""

    items: tuple[PresignedUrl, ...]


class PresetList(Wire):
    """Every preset, by name."""

    items: tuple[Preset, ...]


class JobEventList(Wire):
    """What happened to a job, the oldest first."""

    items: tuple[JobEvent, ...]


class JobCallback(Wire):
    """How a job ended, told by whoever ran it.

    Attributes:
        attempt: the attempt that ended so; 0 where the job was never begun.
        outputs: what it wrote; only with COMPLETED.
        error: why it failed; with FAILED, and only there.
    """

    attempt: int = Field(ge=0, le=1_000_000)
    state: Literal[JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]
    outputs: tuple[JobOutput, ...] = ()
    error: MediaError | None = None

    @model_validator(mode="after")
    def _fits_the_state(self) -> JobCallback:
        if (self.error is not None) != (self.state is JobState.FAILED):
            raise ValueError("an error comes with FAILED, always, and with nothing else")
        if self.outputs and self.state is not JobState.COMPLETED:
            raise ValueError("outputs come with COMPLETED only")
        return self


class PartStatus(Wire):
    """Whether one of the services behind the API answers; `error` says why it does not."""

    name: Literal["catalogue", "storage"]
    ok: bool
    error: MediaError | None = None


class AssetCount(Wire):
    """How many assets have a status."""

    status: AssetStatus
    count: int = Field(ge=0)


class JobCount(Wire):
    """How many jobs are in a state."""

    state: JobState
    count: int = Field(ge=0)


class SystemStatus(Wire):
    """How the library is: what answers, who runs jobs, and how much there is. Counts are empty without a catalogue."""

    ok: bool
    version: str
    executor: Literal["celery", "stepfunctions"]
    parts: tuple[PartStatus, ...]
    assets: tuple[AssetCount, ...] = ()
    jobs: tuple[JobCount, ...] = ()


class GraphqlRequest(Wire):
    """A GraphQL query as the whole world sends it: JSON by POST."""

    query: str = Field(min_length=1, max_length=32_768)
    variables: dict[str, Any] | None = None
    operationName: str | None = Field(default=None, max_length=256)  # noqa: N815 - GraphQL over HTTP calls it so
    extensions: dict[str, Any] | None = None


class GraphqlAnswer(Wire):
    """Its answer; each error carries `extensions.code` and `extensions.remedy`."""

    data: dict[str, Any] | None = None
    errors: list[dict[str, Any]] | None = None
