"""Where one media-cache host keeps and makes things."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from livedub.errors import ConfigurationError
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.upload_settings import UploadSettings

_LONGEST_RUN_DIR = 80
"""The sockets in it have names, and unix(7) takes 107 bytes in all."""


@dataclass(frozen=True, slots=True)
class HostPaths:
    """What one host reads and makes."""

    data_dir: Path
    tls_dir: Path
    run_dir: Path

    @property
    def upload_socket(self) -> Path:
        """Where Caddy reaches the upload service."""
        return self.run_dir / "upload.sock"

    @property
    def admin_socket(self) -> Path:
        """Where Caddy takes new configurations."""
        return self.run_dir / "admin.sock"


@asynccontextmanager
async def host_paths(host: HostSettings, upload: UploadSettings) -> AsyncGenerator[HostPaths]:
    """The paths; a folder for the sockets that nobody named is temporary.

    Raises:
        ConfigurationError: MEDIA_RUN_DIR is too long.
    """
    data_dir = upload.data_dir.absolute()
    tls_dir = host.tls_cert_host_path.absolute() / "tls"
    if host.run_dir is None:
        with tempfile.TemporaryDirectory(prefix="livedub-media-") as folder:
            yield HostPaths(data_dir, tls_dir, Path(folder))
        return
    run_dir = host.run_dir.absolute()
    if len(str(run_dir)) > _LONGEST_RUN_DIR:
        raise ConfigurationError(
            f"MEDIA_RUN_DIR {run_dir} is longer than {_LONGEST_RUN_DIR} characters.",
            remedy="Sockets lie in it, whose paths are short by nature: choose a shorter one.",
        )
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield HostPaths(data_dir, tls_dir, run_dir)
