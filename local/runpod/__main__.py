"""`python -m local.runpod --port N`: RunPod's queue on this machine until Ctrl-C. State lives in memory only."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from livedub.errors import ConfigurationError, LivedubError
from local.runpod.limits import Limits
from local.runpod.server import DEFAULT_ENDPOINT_ID, EmulatorOptions, serve


def main() -> int:
    """Parse the command line and serve; returns the exit code."""
    default = Limits()
    parser = argparse.ArgumentParser(prog="python -m local.runpod", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument(
        "--endpoint",
        dest="endpoints",
        action="append",
        metavar="ID",
        help=f"an endpoint that exists; repeatable (default {DEFAULT_ENDPOINT_ID})",
    )
    parser.add_argument(
        "--api-key-file", type=Path, help="holds the key of clients and workers; without it nobody is asked"
    )
    parser.add_argument("--ready-file", type=Path, help="written once requests are served")
    parser.add_argument(
        "--worker-silence-s",
        type=float,
        default=default.worker_silence_s,
        help=f"a worker not heard for so long is gone (default {default.worker_silence_s:g})",
    )
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    arguments = parser.parse_args()
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        serve(
            EmulatorOptions(
                port=arguments.port,
                endpoints=tuple(arguments.endpoints or (DEFAULT_ENDPOINT_ID,)),
                key=_key(arguments.api_key_file),
                ready_file=arguments.ready_file,
                limits=replace(default, worker_silence_s=arguments.worker_silence_s),
            )
        )
    except LivedubError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's last word
        return 1
    return 0


def _key(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"--api-key-file {file} cannot be read: {error.strerror}.", remedy="Give a file that holds a key."
        ) from error
    if not key:
        raise ConfigurationError(f"--api-key-file {file} is empty.", remedy="Write the key into it.")
    return key


if __name__ == "__main__":
    sys.exit(main())
