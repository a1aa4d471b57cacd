"""What a consumer of the media cache can ask: where speech lies, and what it trusts."""

from __future__ import annotations

import os
from enum import Enum
from typing import Annotated

import typer

from livedub.errors import ConfigurationError

_CA_BUNDLE = "TTS_MEDIA_CACHE_CA_BUNDLE"


class Encoding(str, Enum):
    """The variants of stored speech."""

    PCM = "pcm"
    ALAW = "alaw"


def register(media: typer.Typer) -> None:
    """Add the commands to the group."""
    media.command()(path)
    media.command("tls-diag")(tls_diag)


def path(
    sentence: Annotated[str, typer.Argument(help="What is said.")],
    voice: Annotated[str, typer.Option(help="Voice id, such as es/ef_dora.")],
    model: Annotated[
        str, typer.Option(help="What synthesises it, as the service's health says (kokoro:kokoro-82m).")
    ],
    speed_percent: Annotated[int, typer.Option(help="Speaking speed; 100 is natural.")] = 100,
    variant: Annotated[Encoding, typer.Option(help="Encoding.")] = Encoding.PCM,
) -> None:
    """Print the path under which the cache keeps a sentence."""
    from livedub.media_cache.key import Variant, cache_key, object_path  # noqa: PLC0415

    key = cache_key(sentence, voice, model, speed_percent)
    typer.echo(object_path(key, Variant(variant.value)))


def tls_diag() -> None:
    """Print what TTS_MEDIA_CACHE_CA_BUNDLE amounts to, as a consumer logs it; fails where it is unusable."""
    from livedub.media_cache.tls_bundle import TlsMode  # noqa: PLC0415
    from livedub.media_cache.tls_diag import tls_diag as diagnose  # noqa: PLC0415

    diag = diagnose(os.environ.get(_CA_BUNDLE, ""))
    typer.echo(diag.line())
    if diag.mode is TlsMode.INVALID:
        raise ConfigurationError(f"{_CA_BUNDLE} cannot be used: {diag.error}")
