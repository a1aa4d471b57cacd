"""`livedub dub IN OUT`: dubs a file through the same session as a live stream, on a virtual clock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livedub.errors import InvalidInputError

if TYPE_CHECKING:
    from livedub.dubbing.config import DubbingConfig
    from livedub.dubbing.media_file import DubbedFile

_FRAGMENT_MAX_S = 8
_DELAY_S = 60
"""On a virtual clock D is only a bound: long enough that a slow machine still dubs every fragment."""


def dub(  # noqa: PLR0913, PLR0917 - each one is an option
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any media file with an audio track.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="The dubbed file; its suffix picks the container.")
    ],
    source_language: Annotated[
        str, typer.Option("--source", help="Language spoken in IN (ISO 639-1), or 'auto'.")
    ] = "es",
    target_languages: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Language to dub into (default en); each further one is an audio track."
        ),
    ] = None,
    voices: Annotated[
        list[str] | None,
        typer.Option(
            "--voice", help="Voice id such as en/af_heart, for its language; empty takes the default."
        ),
    ] = None,
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
            envvar="STS_API_KEY", help="Its key; better set in the environment.", show_default=False
        ),
    ] = "",
    events: Annotated[
        Path | None, typer.Option(help="Write the event log here, a JSON line per fragment.")
    ] = None,
    separate: Annotated[  # noqa: FBT002 - typer turns it into --separate/--no-separate
        bool, typer.Option(help="Keep music and noise under the dub; otherwise the ducked original.")
    ] = True,
) -> None:
    """Dub a media file: video is copied, the speech of the first audio track is replaced, once for each --target."""
    from livedub.cli.sts_process import sts_service  # noqa: PLC0415 - heavy

    with sts_service(url) as service_url:
        done = asyncio.run(
            _dub(
                source,
                target,
                dub_config(source_language, target_languages or ["en"], voices or [], separate=separate),
                service_url,
                api_key,
                events,
            )
        )
    typer.echo(f"{target}: {done.seconds:.1f} s dubbed, {done.copied_streams} other stream(s) copied")


def dub_config(
    source_language: str, target_languages: list[str], voices: list[str], *, separate: bool
) -> DubbingConfig:
    """What to dub into and how; each of `voices` goes to the language it names.

    Raises:
        ConfigurationError: a language is named twice.
        InvalidInputError: a voice speaks none of the languages.
    """
    from livedub.dubbing.config import DubbingConfig  # noqa: PLC0415 - heavy
    from livedub.sts.contract import Target  # noqa: PLC0415
    from livedub.timeline.clock import NS_PER_S  # noqa: PLC0415
    from livedub.timeline.fragmenter import FragmenterConfig  # noqa: PLC0415

    spoken = {voice.split("/", 1)[0]: voice for voice in voices if voice}
    strangers = sorted(set(spoken) - set(target_languages))
    if strangers:
        raise InvalidInputError(
            f"--voice {spoken[strangers[0]]} speaks {strangers[0]!r}, which is no --target.",
            remedy="Give voices of the languages to dub into; a voice id starts with its language.",
        )
    return DubbingConfig(
        stream_id="file",
        generation=0,
        source_language=source_language,
        target_language=target_languages[0],
        voice=spoken.get(target_languages[0], ""),
        more_targets=tuple(Target(language=it, voice=spoken.get(it, "")) for it in target_languages[1:]),
        delay_ns=_DELAY_S * NS_PER_S,
        fragmenter=FragmenterConfig(max_ns=_FRAGMENT_MAX_S * NS_PER_S),
        in_flight_limit=2,
        separate=separate,
    )


async def _dub(
    source: Path, target: Path, config: DubbingConfig, url: str, api_key: str, events: Path | None
) -> DubbedFile:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - heavy

    from livedub.dubbing.event_log import EventLogFile  # noqa: PLC0415
    from livedub.dubbing.media_file import dub_media_file  # noqa: PLC0415
    from livedub.dubbing.session import DubbingSession  # noqa: PLC0415
    from livedub.sts.client import connect_sts  # noqa: PLC0415
    from livedub.sts.client_settings import StsClientSettings  # noqa: PLC0415

    client = connect_sts(url, api_key=api_key, runpod_base_url=StsClientSettings().sts_runpod_base_url)
    log = EventLogFile(events) if events else None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
    )
    try:
        with Progress(*columns, TimeRemainingColumn()) as progress:
            task = progress.add_task(f"dubbing {source.name}", total=1)
            return await dub_media_file(
                source,
                target,
                config,
                lambda clock: DubbingSession(config, client, clock, log.write if log else lambda _: None),
                lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        await client.aclose()
        if log is not None:
            log.close()
