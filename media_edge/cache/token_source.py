"""Who may write now: tokens change without a restart of the service, which would fail writes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from livedub.errors import ConfigurationError
from media_edge.cache.tokens import UploadTokens, parse_tokens

log = logging.getLogger(__name__)


class TokenSource:
    """The tokens of the variables, and those of a file that is read again when it has changed.

    Whoever changes the file puts another one in its place. What cannot be used is told and changes nothing.

    Raises:
        ConfigurationError: at the start, a token cannot be used, or the file cannot be read.
    """

    def __init__(self, token: str, named: str, path: Path | None) -> None:
        self._token, self._named, self._path = token, named, path
        self._seen = _version(path)
        self._tokens = self._parsed()

    def current(self) -> UploadTokens:
        """The tokens that are good now."""
        seen = _version(self._path)
        if seen != self._seen:
            self._seen = seen
            try:
                self._tokens = self._parsed()
            except ConfigurationError as error:
                log.error("%s Those before stay good.", error)
            else:
                log.info("tokens of %s may write", ", ".join(self._tokens.names))
        return self._tokens

    def _parsed(self) -> UploadTokens:
        if self._path is None:
            return parse_tokens(self._token, self._named)
        try:
            held = self._path.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigurationError(
                f"MEDIA_UPLOAD_TOKENS_FILE {self._path} cannot be read: {reason}.",
                remedy="Let livedub media host-env write it, or make one of lines name=token for this user.",
            ) from None
        return parse_tokens(self._token, ",".join([self._named, *held.splitlines()]))


def _version(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - on every write
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
