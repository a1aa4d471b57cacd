"""RTMP URLs as everyone here writes them: `rtmp://host:port/live/<stream_id>/in`.

Clients disagree about where the application ends and the playpath begins (Adobe RTMP specification 1.0, 7.2.1.1:
`tcUrl` holds the application). The media servers know one application, `live`, so the split is always after the
first path element, and a client that guesses otherwise (ffmpeg) has to be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from livedub.errors import InvalidInputError

DEFAULT_RTMP_PORT = 1935


@dataclass(frozen=True, slots=True)
class RtmpAddress:
    """Where a stream lies: server, application (`live`) and playpath (`<stream_id>/in`, query included)."""

    host: str
    port: int
    app: str
    playpath: str

    @property
    def tc_url(self) -> str:
        """The URL of the application alone, as the `connect` command carries it."""
        return f"rtmp://{self.host}:{self.port}/{self.app}"


def split_rtmp_url(url: str) -> RtmpAddress:
    """Split after the first path element.

    Raises:
        InvalidInputError: not `rtmp://host[:port]/app/playpath`.
    """
    parts = urlsplit(url)
    app, _, playpath = parts.path.lstrip("/").partition("/")
    if parts.scheme != "rtmp" or not parts.hostname or not app or not playpath:
        raise InvalidInputError(
            f"{url!r} is no RTMP stream.", remedy="Give rtmp://HOST[:PORT]/live/<stream_id>/in."
        )
    if parts.query:
        playpath = f"{playpath}?{parts.query}"
    return RtmpAddress(parts.hostname, parts.port or DEFAULT_RTMP_PORT, app, playpath)


def ffmpeg_publish_args(url: str) -> list[str]:
    """Output arguments that make ffmpeg publish to `url` (its own split takes all but the last element as app)."""
    address = split_rtmp_url(url)
    return ["-f", "flv", "-rtmp_app", address.app, "-rtmp_playpath", address.playpath, url]


def ffmpeg_play_args(url: str) -> list[str]:
    """Input arguments that make ffmpeg, ffprobe or ffplay read `url`."""
    address = split_rtmp_url(url)
    return ["-rtmp_app", address.app, "-rtmp_playpath", address.playpath, "-rtmp_live", "live", "-i", url]
