"""The bearer tokens that may write: several, each with a name, so that writers are rotated one by one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from livedub.errors import ConfigurationError
from livedub.media_cache.writer_tokens import DEFAULT_NAME, checked_token

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SCHEME = re.compile(rb"bearer +([\x21-\x7e]{1,512})", re.IGNORECASE)


class UploadTokens:
    """Tells whose token a request carries, in a time that tells nothing about the tokens."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = {name: hashlib.sha256(token.encode()).digest() for name, token in tokens.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Whose tokens there are."""
        return tuple(self._digests)

    def name_of(self, authorization: bytes) -> str | None:
        """The name of the token in an Authorization header's value; None where it is nobody's.

        Digests of one length are compared, all of them, whatever the first says: neither a token's length nor
        its beginning nor its place in the list shows in the time it takes.
        """
        match = _SCHEME.fullmatch(authorization)
        presented = hashlib.sha256(match[1] if match else b"").digest()
        found: str | None = None
        for name, digest in self._digests.items():
            if hmac.compare_digest(presented, digest):
                found = name
        return found if match else None


def parse_tokens(token: str, named: str) -> UploadTokens:
    """The tokens of `MEDIA_UPLOAD_TOKEN` and of `MEDIA_UPLOAD_TOKENS` ("name=token,name=token").

    Raises:
        ConfigurationError: a token or name is malformed, too short or given twice.
    """
    tokens: dict[str, str] = {}
    if token:
        tokens[DEFAULT_NAME] = checked_token(token, "MEDIA_UPLOAD_TOKEN")
    for entry in filter(None, (part.strip() for part in named.split(","))):
        name, equals, value = entry.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ConfigurationError(
                "MEDIA_UPLOAD_TOKENS holds an entry that is no name=token.",
                remedy="Write name=token,name=token; a name has letters, digits, '_', '.' and '-'.",
            )
        if name in tokens:
            raise ConfigurationError(
                f"MEDIA_UPLOAD_TOKENS names {name} twice.", remedy="Give every token a name of its own."
            )
        tokens[name] = checked_token(value, f"MEDIA_UPLOAD_TOKENS: {name}")
    if len(set(tokens.values())) < len(tokens):
        raise ConfigurationError(
            "MEDIA_UPLOAD_TOKENS gives one token two names.", remedy="Give every writer a token of its own."
        )
    return UploadTokens(tokens)
