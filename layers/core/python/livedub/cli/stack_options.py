"""Options that `livedub demo` and `livedub up` share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Profile(str, Enum):
    """Engine sets of the speech service."""

    CPU = "cpu"
    MOCK = "mock"


class Sts(str, Enum):
    """How stream workers reach the speech service that is started."""

    HTTP = "http"
    RUNPOD = "runpod"


class Server(str, Enum):
    """Media servers."""

    AUTO = "auto"
    MEDIAMTX = "mediamtx"
    NGINX_RTMP = "nginx-rtmp"


SourceLanguage = Annotated[
    str, typer.Option("--source", help="Language spoken on the stream (ISO 639-1), or 'auto'.")
]
TargetLanguage = Annotated[str, typer.Option("--target", help="Language to dub into.")]
Voice = Annotated[str, typer.Option(help="Voice id such as en/af_heart; empty takes the default.")]
DelayMs = Annotated[
    int,
    typer.Option(
        "--delay-ms",
        min=1_000,
        max=60_000,
        help="D: the constant time between a picture's arrival and its departure. Longer fragments translate "
        "better and need more of it.",
    ),
]
ProfileOption = Annotated[
    Profile, typer.Option(help="cpu: real speech engines; mock: no models, deterministic, for trying out.")
]
StsOption = Annotated[
    Sts,
    typer.Option(
        "--sts",
        help="How the speech service is reached: http; runpod: as a worker behind an emulation of RunPod's queue.",
    ),
]
StsUrl = Annotated[
    str, typer.Option(envvar="STS_SERVICE_URL", help="A running STS service; without it one is started.")
]
MediaCacheOption = Annotated[
    bool,
    typer.Option(
        "--media-cache",
        help="Start a media-cache host beside: a line that is said again is kept in DIR/media-cache, for later runs too, "
        "and not generated any more. TTS_MEDIA_CACHE_ADMIT_ON_SIGHT=1 keeps every line.",
    ),
]
ServerOption = Annotated[Server, typer.Option(help="Media server; auto takes mediamtx where it is on PATH.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="URL",
        help="Use the control plane that make deploy-local put on this local AWS, such as http://localhost:5601; "
        "without it a fresh one is started.",
    ),
]


def stack_arguments(*, media_cache: bool = False, **options: str | int | Enum) -> list[str]:
    """The shared options as the local stack's own command line takes them."""
    return [
        *(
            f"--{name.replace('_', '-')}={value.value if isinstance(value, Enum) else value}"
            for name, value in options.items()
        ),
        *(["--media-cache"] if media_cache else []),
    ]
