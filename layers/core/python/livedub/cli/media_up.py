"""`livedub media up`: a media-cache host on this machine, with nothing set up before."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from livedub.media_cache.media_tls_settings import MediaTlsSettings

_DEFAULT_FOLDER = Path("out/media")
_CATALOGUE_VARIABLES = ("DATABASE_URL", "MEDIA_CATALOGUE_DIR", "MEDIA_CLEANUP_EVERY_S")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def register(group: typer.Typer) -> None:
    """Add the command to `livedub media`."""
    group.command("up")(up)


def up(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, envvar="MEDIA_PORT", help="HTTPS port; 0 takes a free one.")
    ] = 8443,
    bind: Annotated[
        str, typer.Option(envvar="MEDIA_BIND", help="Address to serve on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    public_host: Annotated[
        str,
        typer.Option(
            envvar="MEDIA_PUBLIC_HOST",
            help="Name or address by which consumers reach it. Default: the one it serves on.",
        ),
    ] = "",
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", envvar="MEDIA_DATA_DIR", help="Where the speech is kept.")
    ] = _DEFAULT_FOLDER / "data",
    tls_path: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            envvar="MEDIA_TLS_CERT_HOST_PATH",
            help="Folder above tls/, with certificate and key.",
        ),
    ] = _DEFAULT_FOLDER,
    catalogue_dir: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            envvar="MEDIA_CATALOGUE_DIR",
            help="Where a Postgres of its own keeps the catalogue, unless DATABASE_URL names another.",
        ),
    ] = _DEFAULT_FOLDER / "catalogue",
    catalogue: Annotated[
        bool,
        typer.Option(help="Note what is stored, so that it can be cleaned up when its time is over."),
    ] = True,
    cleanup_every: Annotated[
        float,
        typer.Option(
            min=0,
            max=7 * 86_400,
            metavar="SECONDS",
            envvar="MEDIA_CLEANUP_EVERY_S",
            help="How often to clean up; 0: never.",
        ),
    ] = 3_600,
) -> None:
    """Serve a media cache until Ctrl-C: Caddy, the service that takes uploads, and a catalogue cleaned every hour.

    Makes a token and a self-signed certificate where none is set (MEDIA_UPLOAD_TOKEN, MEDIA_TLS_FULLCHAIN_B64 with
    MEDIA_TLS_PRIVKEY_B64). Once it serves, the three variables that consumers need are printed as export lines.
    """
    from livedub.media_cache.tls_sources import init_tls  # noqa: PLC0415 - heavy

    choice = init_tls(tls_settings(tls_path.absolute(), public_host or _WILDCARDS.get(bind, bind)))
    for warning in choice.warnings:
        typer.echo(f"warning: {warning}", err=True)
    options = {
        "--bind": bind,
        "--port": str(port),
        "--public-host": public_host,
        "--data-dir": str(data_dir.absolute()),
        "--tls-path": str(tls_path.absolute()),
        "--catalogue-dir": str(catalogue_dir.absolute()) if catalogue else "",
        "--cleanup-every": str(cleanup_every) if catalogue else "",
    }
    without: dict[str, str] = {} if catalogue else dict.fromkeys(_CATALOGUE_VARIABLES, "")
    _become([argument for option, value in options.items() if value for argument in (option, value)], without)


def tls_settings(tls_path: Path, reached_by: str) -> MediaTlsSettings:
    """The environment's TLS settings for a host that consumers reach by `reached_by`, an address or a name.

    Raises:
        ConfigurationError: a variable is malformed.
    """
    from livedub.media_cache.media_tls_settings import MediaTlsSettings  # noqa: PLC0415 - heavy

    asked = MediaTlsSettings.load()
    addresses, names = ["127.0.0.1", *asked.ips], ["localhost", *asked.dns]
    (addresses if _is_address(reached_by) else names).append(reached_by)
    return MediaTlsSettings.load(
        {
            "MEDIA_TLS_CERT_HOST_PATH": str(tls_path),
            "PRIVATE_IP": ",".join(dict.fromkeys(addresses)),
            "MEDIA_TLS_SAN_DNS": ",".join(dict.fromkeys(names)),
        }
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _become(arguments: list[str], variables: dict[str, str]) -> NoReturn:
    """Become the host's own process, so that Ctrl-C and the exit code are its own."""
    # The host is another package than this one, which is started, never imported.
    environment = {
        **os.environ,
        **variables,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONSAFEPATH": "1",
    }
    argv = [sys.executable, "-m", "media_edge.cache", "up", *arguments]
    os.execve(sys.executable, argv, environment)  # noqa: S606 - an argv list, no shell
