"""`livedub media token`: give a writer of the media cache a new token, in three steps, without a failed write."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Step(str, Enum):
    """What is done to the secret."""

    NEXT = "next"
    USE = "use"
    DROP = "drop"


_DONE = {
    Step.NEXT: "has another token beside the one in use. Once the host accepts it: livedub media token use",
    Step.USE: "has the other token in use. Once nobody uses the one before any more: livedub media token drop",
    Step.DROP: "has the token in use alone.",
}


def register(media: typer.Typer) -> None:
    """Add the command to `livedub media`."""
    media.command()(token)


def token(
    step: Annotated[Step, typer.Argument(metavar="next|use|drop", help="One after the other.")],
    secret: Annotated[
        str,
        typer.Argument(metavar="SECRET", help="livedub/ENV/voice/secrets, or livedub/ENV/media/secrets."),
    ],
) -> None:
    """Change the token in a secret of the media cache: next makes one, use takes it, drop forgets the one before.

    After each step the host must read its secrets: livedub media host-env, there. Neither token is shown.
    """
    import secrets  # noqa: PLC0415

    from livedub.media_cache.token_store import TokenStore  # noqa: PLC0415 - heavy
    from livedub.media_cache.writer_tokens import (  # noqa: PLC0415
        with_next,
        with_other_used,
        without_other,
    )

    changes: dict[Step, Callable[[Mapping[str, str]], Mapping[str, str]]] = {
        Step.NEXT: lambda held: with_next(held, secrets.token_hex(32)),
        Step.USE: with_other_used,
        Step.DROP: without_other,
    }
    TokenStore.connect().change(secret, changes[step])
    typer.echo(f"{secret} {_DONE[step]}")
