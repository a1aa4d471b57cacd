"""`livedub sts FILE`: one clip through STS, with where its time went."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from livedub.sts.contract import Dub, StsPartial, StsRequest, StsResult, Target

_DEADLINE_MS = 60_000
_STAGES = (
    ("queue", "waiting for its turn"),
    ("asr", "speech recognition"),
    ("translation", "translation"),
    ("tts", "voice"),
    ("fit", "fitting to the source's time"),
)


def sts(  # noqa: PLR0913, PLR0917 - each one is an option
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Audio or video of at most 30 s.")],
    source: Annotated[str, typer.Option(help="Language spoken in FILE (ISO 639-1), or 'auto'.")] = "es",
    target: Annotated[
        list[str] | None,
        typer.Option(help="Language to dub into (en without it); may be given several times."),
    ] = None,
    voice: Annotated[str, typer.Option(help="Voice id such as en/af_heart; empty takes the default.")] = "",
    url: Annotated[
        str,
        typer.Option(
            envvar="STS_SERVICE_URL",
            help="A running STS service, http(s)://HOST or runpod://ENDPOINT_ID; without it one is started.",
        ),
    ] = "",
    api_key: Annotated[
        str,
        typer.Option(
            envvar="STS_API_KEY",
            help="Its key, or RunPod's, if it asks for one; better set in the environment.",
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Write the dubbed speech here (WAV).")] = None,
    stream: Annotated[  # noqa: FBT002 - typer turns it into a flag
        bool,
        typer.Option("--stream", help="Ask for text and voices as they are ready, and show when they came."),
    ] = False,
    json_only: Annotated[  # noqa: FBT002 - typer turns it into a flag
        bool, typer.Option("--json", help="Print the answer as JSON, without its audio.")
    ] = False,
) -> None:
    """Dub one clip and show transcript, translation and the time each stage took."""
    from livedub.cli.sts_process import sts_service  # noqa: PLC0415 - heavy
    from livedub.errors import LivedubError  # noqa: PLC0415

    try:
        request = _request(file, source=source, targets=target or ["en"], voice=voice)
        with sts_service(url) as service_url:
            exchange = asyncio.run(_process(request, service_url, api_key, stream=stream))
        result = exchange.result
        dub = next((dub for dub in result.dubs if dub.audio is not None), None)
        if out is not None and dub is not None:
            _write(out, dub)
    except LivedubError as error:
        typer.echo(f"livedub sts: {error}", err=True)
        raise typer.Exit(1) from error
    if json_only:
        _print_json(request, exchange)
    else:
        _print_table(request, exchange, out if dub is not None else None)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """The result, the time that client and service took together, and what came when before it."""

    result: StsResult
    took_ms: float
    partials: tuple[tuple[str, float], ...]


def _request(file: Path, *, source: str, targets: list[str], voice: str) -> StsRequest:
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
        config = StsConfig(source_language=source, targets=_with_voice(targets, voice, Target))
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


def _with_voice(languages: list[str], voice: str, target: type[Target]) -> tuple[Target, ...]:
    """The targets; of several the voice goes to the one whose language it speaks."""
    spoken = voice.split("/", 1)[0]
    one = len(languages) == 1
    return tuple(
        target(language=language, voice=voice if one or language == spoken else "") for language in languages
    )


async def _process(request: StsRequest, url: str, api_key: str, *, stream: bool) -> _Exchange:
    from livedub.sts.client import connect_sts  # noqa: PLC0415 - heavy
    from livedub.sts.client_settings import StsClientSettings  # noqa: PLC0415

    base_url = StsClientSettings().sts_runpod_base_url
    client = connect_sts(url, api_key=api_key, runpod_base_url=base_url)
    partials: list[tuple[str, float]] = []
    started_s = time.perf_counter()

    def passed_ms() -> float:
        return (time.perf_counter() - started_s) * 1_000

    async def note(partial: StsPartial) -> None:
        languages = ", ".join(dub.language for dub in partial.dubs)
        partials.append((f"{partial.kind.value} {languages}", passed_ms()))

    try:
        result = await client.process(request, note if stream else None)
        return _Exchange(result, passed_ms(), tuple(partials))
    finally:
        await client.aclose()


def _write(out: Path, dub: Dub) -> None:
    from livedub.audio.clip import write_wav  # noqa: PLC0415 - heavy
    from livedub.audio.codec import decode_audio  # noqa: PLC0415

    if dub.audio is not None:
        write_wav(out, decode_audio(dub.audio), dub.audio.sample_rate_hz)


def _print_json(request: StsRequest, exchange: _Exchange) -> None:
    import json  # noqa: PLC0415 - with the rest

    answer: dict[str, Any] = exchange.result.model_dump(mode="json")
    for dub in answer["dubs"]:
        if dub["audio"] is not None:
            del dub["audio"]["data_base64"]
    answer["round_trip_ms"] = round(exchange.took_ms, 1)
    answer["rtf"] = round(exchange.took_ms / request.audio.duration_ms, 3)
    answer["partials_ms"] = {what: round(when_ms, 1) for what, when_ms in exchange.partials}
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _print_table(request: StsRequest, exchange: _Exchange, out: Path | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    result, took_ms = exchange.result, exchange.took_ms
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
    for what, when_ms in exchange.partials:
        table.add_row("partial", f"{what} after", f"{when_ms:.0f}")
    table.add_row("total", f"{took_ms / request.audio.duration_ms:.2f} x the clip's length", f"{took_ms:.0f}")
    console.print(table)
    if result.error is not None:
        console.print(f"[red]{escape(result.error.message)}[/red]")
    if out is not None:
        console.print(f"written: {escape(str(out))}")
