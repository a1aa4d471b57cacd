"""`python -m media_edge.worker`: run a worker or the agent that starts workers, forward an output, check settings."""

from __future__ import annotations

import argparse
import sys

from livedub.errors import LivedubError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.observability import configure_logging
from livedub.settings import variables
from media_edge.worker.exit_codes import ExitCode
from media_edge.worker.settings import WorkerSettings, read_settings

_EPILOG = (
    "Settings come from the environment:\n\n{variables}\n\nExit codes of `run`:\n\n{codes}\n\n{forward}\n"
)
_FORWARD_CODES = "Exit codes of `forward`: 0 stopped, 10 configuration, 20 no source, 30 source lost, 40 destination failed, 50 crashed"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and do what it says; returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.without_stream is not None:
        return int(arguments.without_stream())
    try:
        settings = read_settings()
        media_cache = MediaCacheSettings.load()
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return int(getattr(arguments, "configuration_error", ExitCode.CONFIGURATION))
    configure_logging(
        style=settings.log_format,
        level=settings.log_level,
        secrets=[
            key.get_secret_value()
            for key in (settings.sts_api_key, settings.sts_hedge_api_key, media_cache.upload_token)
        ],
        fields={"stream_id": settings.stream_id, "generation": settings.generation},
    )
    return int(arguments.command(settings, media_cache))


def _run(settings: WorkerSettings, media_cache: MediaCacheSettings) -> int:
    # GStreamer and the models load only for a worker that really starts.
    from media_edge.worker.stream_worker import run_worker  # noqa: PLC0415

    return run_worker(settings, media_cache=media_cache)


def _run_supervised() -> int:
    from media_edge.worker.supervised import run_supervised  # noqa: PLC0415

    return run_supervised()


def _agent() -> int:
    from media_edge.worker.agent.entry import run_agent  # noqa: PLC0415

    return run_agent()


def _forward(settings: WorkerSettings, _media_cache: MediaCacheSettings) -> int:
    from media_edge.worker.forwarder import run_forwarder  # noqa: PLC0415

    return run_forwarder(settings)


def _check(settings: WorkerSettings, media_cache: MediaCacheSettings) -> int:
    fragmenter = settings.fragmenter
    cache = f", media cache {media_cache.base_url}" if media_cache.base_url else ""
    sys.stdout.write(
        f"Settings are complete: {settings.input} -> {settings.output}, D {settings.delay_ms} ms, fragments of "
        f"{fragmenter.min_ns // 1_000_000} to {fragmenter.max_ns // 1_000_000} ms, STS {settings.sts_url}{cache}.\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(
        f"  {v.name:<34}{v.default}" for v in (*variables(WorkerSettings), *variables(MediaCacheSettings))
    )
    codes = "\n".join(f"  {code.value}  {code.name.lower()}" for code in ExitCode)
    parser = argparse.ArgumentParser(
        prog="python -m media_edge.worker",
        description="Dub one live stream: play it, send its speech through STS, publish it D later.",
        epilog=_EPILOG.format(variables=names, codes=codes, forward=_FORWARD_CODES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(without_stream=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="dub the stream until SIGTERM, or until its publisher stays away")
    run.set_defaults(command=_run)
    run.add_argument(
        "--supervised",
        dest="without_stream",
        action="store_const",
        const=_run_supervised,
        help="load everything, say so on stdout, then take settings and commands as JSON lines on stdin",
    )
    agent = commands.add_parser("agent", help="take streams from the work queue and run a worker for each")
    agent.set_defaults(without_stream=_agent)
    forward = commands.add_parser(
        "forward", help="copy the output to WORKER_FORWARD_URL (a worker starts this itself)"
    )
    forward.set_defaults(command=_forward, configuration_error=10)
    check = commands.add_parser("check-config", help="read the settings, say what they mean, start nothing")
    check.set_defaults(command=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
