"""The variables of the cache host's services, fetched from AWS into a file that systemd reads (EnvironmentFile=)."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from livedub.errors import ConfigurationError

NAMES = ("MEDIA_UPLOAD_TOKEN", "MEDIA_DATA_DIR", "MEDIA_TLS_CERT_HOST_PATH")
"""Those that the services read; certificate and key reach them as files."""

UPLOAD_NAMES = ("MEDIA_UPLOAD_TOKENS_FILE", "MEDIA_DATA_DIR", "MEDIA_TLS_CERT_HOST_PATH", "DATABASE_URL")
CLEANUP_NAMES = ("DATABASE_URL", "TTS_MEDIA_CACHE_BASE_URL", "TTS_MEDIA_CACHE_UPLOAD_TOKEN")
_UPLOAD_USER = "livedub-media-upload"


def write_environment(path: Path, variables: Mapping[str, str], names: Sequence[str] = NAMES) -> None:
    """Write `path` at once, readable by its owner alone: what `variables` have of `names`.

    Raises:
        ConfigurationError: a value has several lines, or the file cannot be written.
    """
    lines = [f"{name}={_quoted(name, variables[name])}\n" for name in names if variables.get(name)]
    _write(path, lines)


def write_tokens(path: Path, tokens: Mapping[str, str]) -> None:
    """Write MEDIA_UPLOAD_TOKENS_FILE at once, readable by the upload service's user alone, where there is that user.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    _write(path, [f"{name}={token}\n" for name, token in tokens.items()], user=_UPLOAD_USER)


def _write(path: Path, lines: Sequence[str], *, user: str = "") -> None:
    try:
        descriptor, staged = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.writelines(lines)
                file.flush()
                _give(descriptor, user)
                os.fsync(descriptor)
            Path(staged).replace(path)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}.", remedy="Give a file in a folder of this user's."
        ) from error


def _give(descriptor: int, user: str) -> None:
    """To `user`, where we may give and there is such a user: elsewhere we serve ourselves."""
    if not user or os.geteuid() != 0:
        return
    with suppress(KeyError):
        os.fchown(descriptor, pwd.getpwnam(user).pw_uid, -1)


def _quoted(name: str, value: str) -> str:
    """As systemd.exec(5) reads it back: in double quotes, where backslash and quote are escaped."""
    value = value.strip()
    if any(ord(character) < 0x20 for character in value):
        raise ConfigurationError(f"{name} has several lines.", remedy="Store it as one line.")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'
