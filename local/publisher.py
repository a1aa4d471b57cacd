"""Publishes a file as a live source would: `python -m local.publisher FILE URL [--loop] [--rate 1.0002]`.

The packets are copied, never re-encoded, at the pace of their timestamps. A rate other than 1 is a publisher
whose clock drifts: 1.0002 sends 200 ppm faster than the timestamps say.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from livedub.errors import LivedubError, MissingPrerequisiteError
from local.rtmp_url import ffmpeg_publish_args


def publisher_argv(
    source: Path, url: str, *, loop: bool = False, rate: float = 1.0, seconds: float | None = None
) -> list[str]:
    """The ffmpeg command that publishes `source` to the RTMP `url`; it ends after `seconds` or at the file's end.

    Raises:
        MissingPrerequisiteError: ffmpeg is not installed.
        InvalidInputError: `url` is no RTMP stream.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise MissingPrerequisiteError("ffmpeg is not on PATH.", remedy="Run make setup.")
    return [
        *(ffmpeg, "-hide_banner", "-loglevel", "warning", "-nostdin"),
        *(("-stream_loop", "-1") if loop else ()),
        *("-readrate", f"{rate:.7f}", "-i", str(source)),
        *(("-t", f"{seconds:.3f}") if seconds is not None else ()),
        *("-c", "copy", "-map", "0:v:0?", "-map", "0:a:0?"),
        # The duration and file size of a live stream are unknown, and the output cannot be sought to write them.
        *("-flvflags", "no_duration_filesize"),
        *ffmpeg_publish_args(url),
    ]


def main() -> None:
    """Become ffmpeg, so that signals and the exit code are its own."""
    parser = argparse.ArgumentParser(prog="python -m local.publisher", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("url")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    try:
        argv = publisher_argv(
            arguments.source,
            arguments.url,
            loop=arguments.loop,
            rate=arguments.rate,
            seconds=arguments.seconds,
        )
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    os.execv(argv[0], argv)  # noqa: S606 - an argv list, no shell


if __name__ == "__main__":
    main()
