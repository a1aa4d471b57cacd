"""The tokens of a media cache's writers, as two secrets hold them: one in use, and another beside it while they change.

A cache host accepts every one of them. So a new token is accepted before anybody uses it, and the old one for as long as
anybody does: no write fails in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from livedub.errors import ConfigurationError

HOSTS_TOKEN = "MEDIA_UPLOAD_TOKEN"  # noqa: S105 - its name
"""Of `<NAMESPACE>/media/secrets`: the host's own, which its clean-up deletes with."""
WRITERS_TOKEN = "TTS_MEDIA_CACHE_UPLOAD_TOKEN"  # noqa: S105 - its name
"""Of `<NAMESPACE>/voice/secrets`."""
OTHER_TOKEN = "MEDIA_UPLOAD_TOKEN_OTHER"  # noqa: S105 - its name
"""Of either: accepted, and used by nobody who reads the secret now."""

DEFAULT_NAME = "default"
_NAMES = {HOSTS_TOKEN: DEFAULT_NAME, WRITERS_TOKEN: "voice"}

SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 512
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""b64token of RFC 6750, section 2.1."""


def checked_token(token: str, variable: str) -> str:
    """`token`, which `variable` holds.

    Raises:
        ConfigurationError: no header can carry it, or it is too short; it is not quoted.
    """
    if not SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            f"{variable} is no usable token.",
            remedy=f"Use {SHORTEST_TOKEN} to {_LONGEST_TOKEN} characters of A-Z a-z 0-9 . _ ~ + / - "
            "(openssl rand -hex 32).",
        )
    return token


def accepted_tokens(secrets: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What a host accepts where these are its secrets: tokens by the name under which writes are counted.

    One that is in two places has the name of the first.

    Raises:
        ConfigurationError: one of them is no usable token.
    """
    found: dict[str, str] = {}
    for held in secrets:
        for member in _NAMES.keys() & held.keys():
            name = _NAMES[member]
            for name_there, variable in ((name, member), (f"{name}-other", OTHER_TOKEN)):
                token = held.get(variable, "")
                if token and token not in found.values():
                    found[name_there] = checked_token(token, variable)
    return found


def with_next(held: Mapping[str, str], token: str) -> dict[str, str]:
    """The secret with `token` beside the one in use.

    Raises:
        ConfigurationError: it has another already, or none in use.
    """
    _member(held)
    if held.get(OTHER_TOKEN):
        raise ConfigurationError(
            "The secret has another token already.",
            remedy="Go on with the change that was begun: livedub media token use, or drop.",
        )
    return {**held, OTHER_TOKEN: checked_token(token, OTHER_TOKEN)}


def with_other_used(held: Mapping[str, str]) -> dict[str, str]:
    """The secret with the other token in use, and the one that was in use beside it; once more goes back.

    Raises:
        ConfigurationError: it has no other, or none in use.
    """
    member = _member(held)
    if not held.get(OTHER_TOKEN):
        raise ConfigurationError(
            "The secret has no other token.",
            remedy="Make one that the host can accept: livedub media token next.",
        )
    return {**held, member: held[OTHER_TOKEN], OTHER_TOKEN: held[member]}


def without_other(held: Mapping[str, str]) -> dict[str, str]:
    """The secret with the token in use alone.

    Raises:
        ConfigurationError: it has none in use.
    """
    _member(held)
    return {name: value for name, value in held.items() if name != OTHER_TOKEN}


def _member(held: Mapping[str, str]) -> str:
    member = next((name for name in _NAMES if held.get(name)), "")
    if not member:
        raise ConfigurationError(
            f"The secret has neither {' nor '.join(_NAMES)}.",
            remedy="Name livedub/ENV/voice/secrets, or livedub/ENV/media/secrets.",
        )
    return member
