"""`python -m media_edge.cache up|serve`: a whole media-cache host, or its upload service alone."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from pathlib import Path
from typing import Any

from livedub.errors import ConfigurationError, LivedubError

_FAILED = 1
_SETTINGS_WRONG = 2


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 after SIGTERM, 2 when the settings are wrong, 1 when something broke."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "serve":
            from media_edge.cache.upload_service import run_upload_service  # noqa: PLC0415 - brings the server

            run_upload_service()
        else:
            _up(options)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return _SETTINGS_WRONG
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m media_edge.cache", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="the upload service, set up by MEDIA_* variables")
    up = commands.add_parser("up", help="Caddy and the upload service; options win over MEDIA_* variables")
    up.add_argument("--bind", help="address to serve on (MEDIA_BIND)")
    up.add_argument("--port", type=int, help="HTTPS port, 0 for a free one (MEDIA_PORT)")
    up.add_argument("--public-host", help="name under which consumers reach it (MEDIA_PUBLIC_HOST)")
    up.add_argument("--data-dir", type=Path, help="folder of the objects (MEDIA_DATA_DIR)")
    up.add_argument("--tls-path", type=Path, help="folder above tls/ (MEDIA_TLS_CERT_HOST_PATH)")
    up.add_argument(
        "--catalogue-dir", type=Path, help="folder for a Postgres of its own (MEDIA_CATALOGUE_DIR)"
    )
    up.add_argument(
        "--cleanup-every", type=float, metavar="S", help="clean up so often (MEDIA_CLEANUP_EVERY_S)"
    )
    up.add_argument("--run-dir", type=Path, help="folder for the sockets (MEDIA_RUN_DIR)")
    return parser


def _up(options: argparse.Namespace) -> None:
    from media_edge.cache.cache_host import run_host  # noqa: PLC0415 - brings certificates
    from media_edge.cache.host_settings import HostSettings  # noqa: PLC0415
    from media_edge.cache.upload_settings import UploadSettings  # noqa: PLC0415

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(options, name) for name in names if getattr(options, name) is not None}

    host_options = given("bind", "port", "public_host", "run_dir", "catalogue_dir")
    for option, field in (("tls_path", "tls_cert_host_path"), ("cleanup_every", "cleanup_every_s")):
        if getattr(options, option) is not None:
            host_options[field] = getattr(options, option)
    upload = UploadSettings.load(**given("data_dir"), make_token=secrets.token_urlsafe(32))
    asyncio.run(run_host(HostSettings.load(**host_options), upload, _announce))


def _announce(exports: str) -> None:
    sys.stdout.write(exports)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
