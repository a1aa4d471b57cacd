"""The library's types as GraphQL shows them: each is made from its pydantic model, which has the last word on values.

Where a field is not `auto`, GraphQL has no such type: tuples are lists, literals plain text, and sizes of files exceed
its Int. A test sees to it that no field of a model is missing.
"""

# Strawberry's decorators replace the classes below by types made at run time.
# pyright: reportInvalidTypeForm=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnannotatedClassAttribute=false, reportUntypedClassDecorator=false

# No `from __future__ import annotations`: Strawberry reads these annotations while the class is made.

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, NewType, TypeVar, Union, cast

import strawberry
from strawberry import auto
from strawberry.experimental import pydantic as mirrored
from strawberry.types.scalar import ScalarDefinition

from livedub.library import types as library
from livedub.library.api import api_types
from livedub.library.library_errors import LibraryErrorCode

_Class = TypeVar("_Class", bound=type[Any])

Int64 = NewType("Int64", int)
SCALARS: dict[object, ScalarDefinition] = {
    Int64: strawberry.scalar(
        name="Int64", description="A whole number of up to 64 bits.", serialize=int, parse_value=int
    )
}


def _shows(model: type[library.Wire], *, whole: bool = False) -> Callable[[_Class], _Class]:
    """Make a GraphQL type of a class that names fields of `model`, or of all of them."""

    def made(shown: _Class) -> _Class:
        return cast("Any", mirrored.type(model=model, all_fields=whole, description=shown.__doc__)(shown))

    return made


def _takes(model: type[library.Wire], *, whole: bool = False) -> Callable[[_Class], _Class]:
    """Make a GraphQL input, in the same way."""

    def made(taken: _Class) -> _Class:
        return cast("Any", mirrored.input(model=model, all_fields=whole, description=taken.__doc__)(taken))

    return made


for _enum in (
    LibraryErrorCode,
    library.AssetStatus,
    library.BucketRole,
    library.Container,
    library.JobKind,
    library.JobState,
    library.StreamKind,
):
    strawberry.enum(_enum)


@_shows(library.MediaError, whole=True)
class MediaError:
    """What went wrong, for programs (`code`, stable) and for people."""


@_shows(library.MediaStream, whole=True)
class MediaStream:
    """One stream of a container. What the container does not say is null, or empty."""


@_shows(library.Asset)
class Asset:
    """A media file in a bucket, as the catalogue knows it."""

    id: auto
    bucket: auto
    key: auto
    size_bytes: Int64
    etag: auto
    modified_at: datetime
    status: auto
    container: auto
    duration_ms: auto
    streams: list[MediaStream]
    error: auto
    created_at: datetime
    updated_at: datetime


@_shows(library.AssetPage)
class AssetPage:
    """Assets in order of bucket and key; `nextCursor` is null on the last page."""

    items: list[Asset]
    next_cursor: auto


@_shows(library.VideoEncoding)
class VideoEncoding:
    """How a preset encodes video. The picture is never made larger than it is."""

    codec: str
    max_height: auto
    quality: auto
    speed: str
    max_bitrate_kbps: auto


@_shows(library.AudioEncoding)
class AudioEncoding:
    """How a preset encodes audio."""

    codec: str
    bitrate_kbps: auto
    sample_rate_hz: int
    channels: int


@_shows(library.Preset, whole=True)
class Preset:
    """A named way to transcode."""


@_shows(library.TranscodeParameters, whole=True)
class TranscodeParameters:
    """By which preset."""


@_shows(library.TrimParameters, whole=True)
class TrimParameters:
    """From `startMs` (included) to `endMs` (excluded); `exact` encodes anew at the edges."""


@_shows(library.DubTarget, whole=True)
class DubTarget:
    """One language to dub into; an empty voice takes the service's default."""


@_shows(library.DubParameters)
class DubParameters:
    """Into which languages, each once; `subtitles` writes WebVTT beside the file as well."""

    source_language: auto
    targets: list[DubTarget]
    subtitles: auto


@_shows(library.JobOutput)
class JobOutput:
    """A file that a job wrote into the bucket `out`."""

    key: auto
    size_bytes: Int64
    content_type: auto
    sha256: auto
    language: auto


@_shows(library.Job)
class Job:
    """A piece of work and how far it is."""

    id: auto
    kind: auto
    state: auto
    source_key: auto
    output_key: auto
    preset: auto
    parameters: Annotated[
        Union[TranscodeParameters, TrimParameters, DubParameters],  # noqa: UP007 - read at run time
        strawberry.union("JobParameters", description="What belongs to the job's kind."),
    ]
    progress: auto
    error: auto
    attempt: auto
    submission: auto
    outputs: list[JobOutput]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@_shows(library.JobPage)
class JobPage:
    """Jobs, the newest first; `nextCursor` is null on the last page."""

    items: list[Job]
    next_cursor: auto


@_shows(library.JobEvent)
class JobEvent:
    """One change of a job's state, or a new attempt; numbered from 1 within the job."""

    job_id: auto
    number: auto
    at: datetime
    state: auto
    attempt: auto
    submission: auto
    error_code: auto


@_shows(library.ScanResult)
class ScanResult:
    """What a scan found; `files` are the first 1,000 keys of what is new or changed."""

    found: auto
    registered: auto
    skipped: auto
    changed: auto
    gone: auto
    files: list[str]


@_shows(api_types.PresignedUrl)
class PresignedUrl:
    """An address that lets whoever knows it do one thing with one object, for a while."""

    url: auto
    method: str
    key: auto
    content_type: auto
    expires_at: datetime


@_shows(api_types.PartStatus)
class PartStatus:
    """Whether one of the services behind the API answers; `error` says why it does not."""

    name: str
    ok: auto
    error: auto


@_shows(api_types.AssetCount, whole=True)
class AssetCount:
    """How many assets have a status."""


@_shows(api_types.JobCount, whole=True)
class JobCount:
    """How many jobs are in a state."""


@_shows(api_types.SystemStatus)
class SystemStatus:
    """How the library is: what answers, who runs jobs, and how much there is."""

    ok: auto
    version: auto
    executor: str
    parts: list[PartStatus]
    assets: list[AssetCount]
    jobs: list[JobCount]


@_takes(library.TranscodeParameters, whole=True)
class TranscodeParametersInput:
    """By which preset."""


@_takes(library.TrimParameters, whole=True)
class TrimParametersInput:
    """From `startMs` (included) to `endMs` (excluded); `exact` encodes anew at the edges."""


@_takes(library.DubTarget, whole=True)
class DubTargetInput:
    """One language to dub into; an empty voice takes the service's default."""


@_takes(library.DubParameters)
class DubParametersInput:
    """Into which languages, each once; `subtitles` writes WebVTT beside the file as well."""

    source_language: auto
    targets: list[DubTargetInput]
    subtitles: auto


@strawberry.input(one_of=True, description="What to do with a file: exactly one of these.")
class JobParametersInput:
    """Tells the kind of a job by its parameters."""

    transcode: TranscodeParametersInput | None = strawberry.UNSET
    trim: TrimParametersInput | None = strawberry.UNSET
    dub: DubParametersInput | None = strawberry.UNSET


@_takes(library.VideoEncoding)
class VideoEncodingInput:
    """How a preset encodes video. The picture is never made larger than it is."""

    codec: str
    max_height: auto
    quality: auto
    speed: str
    max_bitrate_kbps: auto


@_takes(library.AudioEncoding)
class AudioEncodingInput:
    """How a preset encodes audio."""

    codec: str
    bitrate_kbps: auto
    sample_rate_hz: int
    channels: int


@_takes(library.Preset)
class PresetInput:
    """A named way to transcode."""

    name: auto
    description: auto
    container: auto
    video: VideoEncodingInput | None
    audio: AudioEncodingInput | None
    hls_part_s: auto
