"""`livedub demo`: a stream dubbed and verified from end to end on this machine."""

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


def demo(  # noqa: PLR0913 - each one is an option
    *,
    seconds: Annotated[int, typer.Option(min=5, max=86_400, help="How much of the input to dub.")] = 60,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A media file with speech; without it a clip is made from a script.",
        ),
    ] = None,
    source: SourceLanguage = "es",
    target: TargetLanguage = "en",
    voice: Voice = "",
    delay_ms: DelayMs = 8_000,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("out/demo"),
    page: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    profile: ProfileOption = Profile.CPU,
    sts: StsOption = Sts.HTTP,
    sts_url: StsUrl = "",
    media_cache: MediaCacheOption = False,
    server: ServerOption = Server.AUTO,
    on: On = "",
) -> None:
    """Dub a clip as a live stream and measure the result.

    Starts control plane, media server, speech service and agent, publishes the clip at real-time pace, records what
    comes out, verifies it and writes DIR/{out.mp4, in.mp4, out.vtt, events.jsonl, report.json, report.html}.
    Exits 0 only if verified, 1 if not, 2 if something could not run.
    """
    arguments = [f"--seconds={seconds}", f"--out={out}"]
    if input_file is not None:
        arguments.append(f"--input={input_file}")
    if not page:
        arguments.append("--no-page")
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
    run_local("demo", arguments + shared)
