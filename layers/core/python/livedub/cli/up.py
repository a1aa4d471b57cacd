"""`livedub up`: the whole stack without a publisher, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from livedub.cli.checkout import run_local
from livedub.cli.stack_options import (
    DelayMs,
    MediaCacheOption,
    On,
    Profile,
    ProfileOption,
    Server,
    ServerOption,
    SourceLanguage,
    Sts,
    StsOption,
    StsUrl,
    TargetLanguage,
    Voice,
    stack_arguments,
)


def up(  # noqa: PLR0913 - each one is an option
    *,
    stream_id: Annotated[
        str, typer.Option(help="Stream that the printed URLs name; any other works too.")
    ] = "demo",
    source: SourceLanguage = "es",
    target: TargetLanguage = "en",
    voice: Voice = "",
    delay_ms: DelayMs = 8_000,
    bind: Annotated[
        str, typer.Option(help="Address that publishers and viewers reach; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    rtmp_port: Annotated[int, typer.Option(min=0, max=65_535, help="RTMP port; 0 takes a free one.")] = 1935,
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="HLS port; 0 takes a free one.")] = 8888,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where logs and event logs go.")] = Path("out/up"),
    profile: ProfileOption = Profile.CPU,
    sts: StsOption = Sts.HTTP,
    sts_url: StsUrl = "",
    media_cache: MediaCacheOption = False,
    library: Annotated[
        bool,
        typer.Option(
            help="Run the media library too: S3 storage, catalogue, jobs. Its data stays in DIR/library."
        ),
    ] = True,
    library_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the library's API and files; 0 takes a free one.")
    ] = 8090,
    objects_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the library's S3 storage; 0 takes a free one.")
    ] = 9000,
    s3_url: Annotated[
        str,
        typer.Option(
            "--s3-url",
            metavar="URL",
            help="Keep the library's files in an S3 server that runs already, such as MinIO at http://localhost:9000; its "
            "two buckets become readable by everybody. Without it one is started.",
        ),
    ] = "",
    server: ServerOption = Server.AUTO,
    on: On = "",
) -> None:
    """Run control plane, media server, speech service and agent until Ctrl-C; every stream that is published is dubbed.

    Prints where to publish (OBS, ffmpeg) and where to watch. `livedub streams` shows and steers what runs.
    """
    arguments = [
        f"--stream-id={stream_id}",
        f"--bind={bind}",
        f"--rtmp-port={rtmp_port}",
        f"--http-port={http_port}",
        f"--out={out}",
        "--library" if library else "--no-library",
        f"--library-port={library_port}",
        f"--objects-port={objects_port}",
        f"--s3-url={s3_url}",
    ]
    shared = stack_arguments(
        source=source,
        target=target,
        voice=voice,
        delay_ms=delay_ms,
        profile=profile,
        sts=sts,
        sts_url=sts_url,
        media_cache=media_cache,
        server=server,
        on=on,
    )
    run_local("up", arguments + shared)
