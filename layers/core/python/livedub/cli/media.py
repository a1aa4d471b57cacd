"""`livedub media`: the media cache, from its host's side and from its consumers'."""

from __future__ import annotations

import typer

from livedub.cli import (
    media_check,
    media_cleanup,
    media_consumer,
    media_host_env,
    media_tls,
    media_token,
    media_up,
)

media = typer.Typer(no_args_is_help=True, help="Run, secure, check and clean the cache for generated speech.")

for _part in (media_consumer, media_tls, media_check, media_cleanup, media_host_env, media_token, media_up):
    _part.register(media)
