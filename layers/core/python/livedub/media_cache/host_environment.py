"""The variables of the cache host's services, fetched from AWS into a file that systemd reads (EnvironmentFile=)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from livedub.errors import ConfigurationError

NAMES = ("MEDIA_UPLOAD_TOKEN", "MEDIA_DATA_DIR", "MEDIA_TLS_CERT_HOST_PATH")
"""Those that the services read; certificate and key reach them as files."""

UPLOAD_NAMES = (*NAMES, "DATABASE_URL")
CLEANUP_NAMES = ("DATABASE_URL", "TTS_MEDIA_CACHE_BASE_URL", "TTS_MEDIA_CACHE_UPLOAD_TOKEN")


def write_environment(path: Path, variables: Mapping[str, str], names: Sequence[str] = NAMES) -> None:
    """Write `path` at once, readable by its owner alone: what `variables` have of `names`.

    Raises:
        ConfigurationError: a value has several lines, or the file cannot be written.
    """
    lines = [f"{name}={_quoted(name, variables[name])}\n" for name in names if variables.get(name)]
    try:
        descriptor, staged = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(descriptor)
            Path(staged).replace(path)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}.", remedy="Give a file in a folder of this user's."
        ) from error


def _quoted(name: str, value: str) -> str:
    """As systemd.exec(5) reads it back: in double quotes, where backslash and quote are escaped."""
    value = value.strip()
    if any(ord(character) < 0x20 for character in value):
        raise ConfigurationError(f"{name} has several lines.", remedy="Store it as one line.")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'
