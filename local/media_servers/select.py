"""Picks the media server: MediaMTX where its binary is on PATH, else nginx."""

from __future__ import annotations

from livedub.errors import ConfigurationError
from local.media_servers.base import MediaServer, MediaServerOptions
from local.media_servers.mediamtx import MediaMtx, find_mediamtx
from local.media_servers.nginx_rtmp import NginxRtmp
from local.processes import Supervisor

SERVERS: dict[str, type[MediaServer]] = {NginxRtmp.kind: NginxRtmp, MediaMtx.kind: MediaMtx}


def select_media_server(
    options: MediaServerOptions, supervisor: Supervisor, *, kind: str = "auto"
) -> MediaServer:
    """Return the media server of a kind; `auto` prefers the one of production.

    Raises:
        ConfigurationError: there is no such kind.
    """
    if kind == "auto":
        kind = MediaMtx.kind if find_mediamtx() else NginxRtmp.kind
    if kind not in SERVERS:
        raise ConfigurationError(
            f"{kind!r} is no media server.", remedy=f"Choose auto or one of {', '.join(sorted(SERVERS))}."
        )
    return SERVERS[kind](options, supervisor)
