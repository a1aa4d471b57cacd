"""`python -m local.aws --port N`: AWS on this machine until Ctrl-C. State lives in memory only."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from livedub.errors import LivedubError
from local.aws import collector
from local.aws.settings import LocalAwsSettings


def main() -> int:
    """Parse the command line and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.aws", description=__doc__)
    parser.add_argument("--port", type=int, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="written once requests are served")
    parser.add_argument("--lambda-emulator", type=Path, help="the aws-lambda-rie program")
    parser.add_argument(
        "--schedule-speed", type=float, help="run schedules and retries this many times faster"
    )
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    arguments = parser.parse_args()
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for chatty in ("botocore", "werkzeug", "moto"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    given = {
        "port": arguments.port,
        "lambda_emulator": arguments.lambda_emulator,
        "schedule_speed": arguments.schedule_speed,
    }
    try:
        collector.pause()
        from local.aws.server import serve  # noqa: PLC0415 - moto takes seconds to load

        settings = LocalAwsSettings(**{name: value for name, value in given.items() if value is not None})
        serve(settings, ready_file=arguments.ready_file)
    except LivedubError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's last word
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
