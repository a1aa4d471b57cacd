"""`python -m media_edge.cache serve`: one upload service on its Unix socket, until SIGTERM."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from livedub.errors import ConfigurationError
from livedub.media_cache.catalogue_port import Catalogue
from livedub.observability import configure_logging
from media_edge.cache.blob_store import BlobStore
from media_edge.cache.served_certificate import CertificateWatch
from media_edge.cache.upload_app import UploadApp
from media_edge.cache.upload_metrics import UploadMetrics
from media_edge.cache.upload_settings import UploadSettings

_BACKLOG = 4_096
_KEEP_ALIVE_S = 75
"""Longer than Caddy keeps its side: whoever closes first must be the one that sends the next request."""
_SOCKET_MODE = 0o660

log = logging.getLogger(__name__)


def run_upload_service() -> None:
    """Serve with what the environment says.

    Raises:
        ConfigurationError: a setting is wrong, the store cannot be used, or the socket is taken.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the server takes over: whoever stops us while we start finds no socket left.
        signal.signal(number, lambda *_: sys.exit(0))
    settings = UploadSettings.load()
    tokens = settings.tokens()
    configure_logging(
        style=settings.log_style,
        level=settings.log_level,
        secrets=[settings.upload_token.get_secret_value(), settings.database_url.get_secret_value()],
        fields={"service": "media-upload"},
    )
    metrics = UploadMetrics()
    with _listening(settings.socket) as listener:
        store = BlobStore(settings.data_dir, require_mount=settings.require_mount)
        try:
            catalogue = _connect(settings)
            app = UploadApp(settings, store, metrics=metrics, catalogue=catalogue)
        except BaseException:
            store.close()
            raise
        metrics.watch_volume(store)
        metrics.watch_certificate(CertificateWatch(settings.https_address).days_left)
        try:
            _open_metrics(metrics, settings)
            log.info(
                "serving %s on %s for %s; swept %d orphans; catalogue %s",
                settings.data_dir,
                settings.socket,
                "anybody" if tokens is None else ", ".join(tokens.current().names),
                store.swept,
                "off" if catalogue is None else "on",
            )
            _serve(app, listener, settings)
        finally:
            metrics.close()
            app.close()
    log.info("stopped")


def _connect(settings: UploadSettings) -> Catalogue | None:
    url = settings.database_url.get_secret_value()
    if not url:
        return None
    # Loads a database driver, which a host without a catalogue need not have.
    from livedub.media_cache.catalogue_store import connect_catalogue  # noqa: PLC0415

    return connect_catalogue(url)


def _open_metrics(metrics: UploadMetrics, settings: UploadSettings) -> None:
    if not settings.metrics_port:
        return
    try:
        metrics.serve(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        raise ConfigurationError(
            f"MEDIA_METRICS_PORT: {settings.metrics_host}:{settings.metrics_port} cannot be used ({error.strerror}).",
            remedy="Choose another port, or 0 for none.",
        ) from error


def _serve(app: UploadApp, listener: socket.socket, settings: UploadSettings) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType] - the server's own types name every kind of scope
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_timeout_s,
        )
    )
    # uvicorn drains on these, then raises them again for whoever had them before: nobody must die of it then.
    # One that comes before uvicorn listens must not be lost either.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    sys.stdout.write(json.dumps({"event": "ready", "socket": str(settings.socket)}) + "\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


@contextmanager
def _listening(path: Path) -> Generator[socket.socket]:
    """A listening socket at `path` that our group may connect to; it is gone afterwards.

    Raises:
        ConfigurationError: the path cannot be used, or a service answers there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        mask = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - positional only
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"MEDIA_SOCKET {path} cannot be used: {error.strerror}.",
            remedy="Make its folder, owned by the service's user.",
        ) from error
    except BaseException:
        listener.close()
        raise
    try:
        yield listener
    finally:
        listener.close()
        with suppress(FileNotFoundError):
            path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigurationError(f"MEDIA_SOCKET {path} is a file.", remedy="Choose another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigurationError(f"A service answers on MEDIA_SOCKET {path} already.", remedy="Stop it first.")
