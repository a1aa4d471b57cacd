"""`livedub sts FILE`: one clip through STS, with where its time went."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from livedub.sts.contract import Dub, StsRequest, StsResult

_DEADLINE_MS = 60_000
_STAGES = (
    ("queue", "waiting for its turn"),
    ("asr", "speech recognition"),
    ("translation", "translation"),
    ("tts", "voice"),
    ("fit", "fitting to the source's time"),
)


def sts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Audio or video of at most 30 s.")],
    source: Annotated[str, typer.Option(help="Language spoken in FILE (ISO 639-1), or 'auto'.")] = "es",
    target: Annotated[str, typer.Option(help="Language to dub into.")] = "en",
    voice: Annotated[str, typer.Option(help="Voice id such as en/af_heart; empty takes the default.")] = "",
    url: Annotated[
        str, typer.Option(envvar="STS_SERVICE_URL", help="A running STS service; without it one is started.")
    ] = "",
    api_key: Annotated[
        str,
        typer.Option(
            envvar="STS_API_KEY", help="Its key, if it asks for one; better set in the environment."
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Write the dubbed speech here (WAV).")] = None,
    json_only: Annotated[  # noqa: FBT002 - typer turns it into a flag
        bool, typer.Option("--json", help="Print the answer as JSON, without its audio.")
    ] = False,
) -> None:
    """Dub one clip and show transcript, translation and the time each stage took."""
    from livedub.cli.sts_process import sts_service  # noqa: PLC0415 - heavy
    from livedub.errors import LivedubError  # noqa: PLC0415

    try:
        request = _request(file, source=source, target=target, voice=voice)
        with sts_service(url) as service_url:
            result, took_ms = asyncio.run(_process(request, service_url, api_key))
        dub = next((dub for dub in result.dubs if dub.audio is not None), None)
        if out is not None and dub is not None:
            _write(out, dub)
    except LivedubError as error:
        typer.echo(f"livedub sts: {error}", err=True)
        raise typer.Exit(1) from error
    if json_only:
        _print_json(request, result, took_ms)
    else:
        _print_table(request, result, took_ms, out if dub is not None else None)


def _request(file: Path, *, source: str, target: str, voice: str) -> StsRequest:
    from pydantic import ValidationError  # noqa: PLC0415 - heavy

    from livedub.audio.clip import read_clip  # noqa: PLC0415
    from livedub.audio.codec import encode_audio  # noqa: PLC0415
    from livedub.audio.pcm import STS_RATE_HZ  # noqa: PLC0415
    from livedub.errors import InvalidInputError  # noqa: PLC0415
    from livedub.sts.contract import (  # noqa: PLC0415
        MAX_FRAGMENT_MS,
        AudioFormat,
        StsConfig,
        StsRequest,
        Target,
    )

    samples = read_clip(file, STS_RATE_HZ, longest_s=MAX_FRAGMENT_MS / 1_000)
    try:
        config = StsConfig(source_language=source, targets=(Target(language=target, voice=voice),))
    except ValidationError as error:
        raise InvalidInputError(
            error.errors()[0]["msg"].removeprefix("Value error, ") + ".",
            remedy="See --source, --target and --voice in --help.",
        ) from error
    return StsRequest(
        fragment_id="clip/0/0",
        stream_id="clip",
        generation=0,
        sequence_number=0,
        deadline_ms=_DEADLINE_MS,
        audio=encode_audio(samples, STS_RATE_HZ, AudioFormat.FLAC),
        config=config,
    )


async def _process(request: StsRequest, url: str, api_key: str) -> tuple[StsResult, float]:
    """The result, and the milliseconds that client and service took together."""
    from livedub.sts.client import connect_sts  # noqa: PLC0415 - heavy

    client = connect_sts(url, api_key=api_key)
    started_s = time.perf_counter()
    try:
        result = await client.process(request)
        return result, (time.perf_counter() - started_s) * 1_000
    finally:
        await client.aclose()


def _write(out: Path, dub: Dub) -> None:
    from livedub.audio.clip import write_wav  # noqa: PLC0415 - heavy
    from livedub.audio.codec import decode_audio  # noqa: PLC0415

    if dub.audio is not None:
        write_wav(out, decode_audio(dub.audio), dub.audio.sample_rate_hz)


def _print_json(request: StsRequest, result: StsResult, took_ms: float) -> None:
    import json  # noqa: PLC0415 - with the rest

    answer: dict[str, Any] = result.model_dump(mode="json")
    for dub in answer["dubs"]:
        if dub["audio"] is not None:
            del dub["audio"]["data_base64"]
    answer["round_trip_ms"] = round(took_ms, 1)
    answer["rtf"] = round(took_ms / request.audio.duration_ms, 3)
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _print_table(request: StsRequest, result: StsResult, took_ms: float, out: Path | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    heard = result.transcript
    if heard is None or not heard.text:
        console.print("[yellow]no speech worth dubbing[/yellow]")
    else:
        console.print(f"[bold]{heard.language}[/bold]  {escape(heard.text)}")
    for dub in result.dubs:
        if dub.translated_text:
            console.print(
                f"[bold]{dub.language}[/bold]  {escape(dub.translated_text)}  [dim]tempo {dub.tempo:.2f}[/dim]"
            )
    table = Table("stage", "what", "ms", title=f"{request.audio.duration_ms / 1_000:.2f} s of audio")
    table.columns[2].justify = "right"
    timings = result.stage_timings.model_dump()
    for stage, meaning in _STAGES:
        table.add_row(stage, meaning, f"{timings[f'{stage}_ms']:.0f}")
    rest_ms = max(0.0, took_ms - sum(timings.values()))
    table.add_row("transport", "sending, waiting, checking", f"{rest_ms:.0f}")
    table.add_section()
    table.add_row("total", f"{took_ms / request.audio.duration_ms:.2f} x the clip's length", f"{took_ms:.0f}")
    console.print(table)
    if result.error is not None:
        console.print(f"[red]{escape(result.error.message)}[/red]")
    if out is not None:
        console.print(f"written: {escape(str(out))}")
