"""`python -m media_edge.library celery|host`: a host that works on the media library's jobs."""

from __future__ import annotations

import argparse
import logging
import sys

from livedub.errors import ConfigurationError, LivedubError
from livedub.library.library_settings import LibrarySettings

_FAILED = 1
_SETTINGS_WRONG = 2


def main(arguments: list[str] | None = None) -> int:
    """Work; 0 after SIGTERM, 2 when the settings are wrong, 1 when something broke."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(processName)s %(name)s %(message)s",
    )
    try:
        settings = LibrarySettings.load()
        if options.command == "celery":
            from media_edge.library.celery_worker import serve  # noqa: PLC0415 - brings Celery

            return serve(settings, log_level=options.log_level)
        from media_edge.library.host_worker import serve_host  # noqa: PLC0415 - brings boto3

        serve_host(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return _SETTINGS_WRONG
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m media_edge.library", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("celery", help="take jobs from Redis (LIVEDUB_EXECUTOR=celery)")
    commands.add_parser(
        "host", help="take what the state machine gives to hosts (LIVEDUB_EXECUTOR=stepfunctions)"
    )
    for command in commands.choices.values():
        command.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
