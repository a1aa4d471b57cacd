"""Where media comes from and goes to: `rtmp://host[:port]/app/playpath` and `rtsp://host[:port]/path`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

from livedub.errors import ConfigurationError

_DEFAULT_PORTS = {"rtmp": 1935, "rtmps": 443, "rtsp": 554}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A stream's address; `app` and `playpath` split after the first path element, as the media servers do.

    `playpath` carries the query (a publish token), so an endpoint is never logged as a whole: use `str()`.
    """

    scheme: str
    host: str
    port: int
    app: str
    playpath: str
    url: str

    def __str__(self) -> str:
        path = self.playpath.split("?", 1)[0]
        return f"{self.scheme}://{self.host}:{self.port}/{self.app}/{path}"

    def beside(self, suffix: str) -> Endpoint:
        """The neighbour whose stream name ends in `suffix`: `live/s/out?token=x` becomes `live/s/out-fr?token=x`."""
        name, mark, query = self.playpath.partition("?")
        parts = urlsplit(self.url)
        return replace(
            self,
            playpath=f"{name}{suffix}{mark}{query}",
            url=urlunsplit(parts._replace(path=f"{parts.path}{suffix}")),
        )


def parse_endpoint(name: str, url: str, schemes: tuple[str, ...]) -> Endpoint:
    """Read the URL in setting `name`.

    Raises:
        ConfigurationError: another scheme, no host, or no stream name after the application.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{name} is no URL: {error}.", remedy=_remedy(name, schemes)) from error
    app, _, playpath = parts.path.lstrip("/").partition("/")
    if parts.scheme not in schemes:
        raise ConfigurationError(
            f"{name} has scheme {parts.scheme or '(none)'!r}, expected {' or '.join(schemes)}.",
            remedy=_remedy(name, schemes),
        )
    if not parts.hostname or not app or not playpath:
        raise ConfigurationError(
            f"{name} lacks a host or a stream name: {_without_query(url)!r}.", remedy=_remedy(name, schemes)
        )
    query = f"?{parts.query}" if parts.query else ""
    return Endpoint(
        parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], app, playpath + query, url
    )


def _without_query(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _remedy(name: str, schemes: tuple[str, ...]) -> str:
    return f"Set {name} to something like {schemes[0]}://127.0.0.1/live/STREAM_ID/in."
