"""`python -m gpu_handler`: the STS service for RunPod's queue or over HTTP, and its engines one by one to try them.

Without a command it is the RunPod worker: that is what RunPod starts in the image.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_handler.exit_codes import EPILOG, ExitCode, exit_code_for
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, LivedubError
from livedub.observability import configure_logging
from livedub.settings import explain

_CLIP_LONGEST_S = 30.0
_SLOWEST = 0.5
_FASTEST = 2.0

Command = Callable[[argparse.Namespace, StsSettings], ExitCode]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors end as one line on stderr and an exit code (see `ExitCode`)."""
    options = _parser().parse_args(argv)
    _let_idle_threads_sleep()
    try:
        if options.run is None:
            return _work_on_runpod(options)
        settings = _settings(options)
        configure_logging(
            style=options.log or options.own_log,
            level=options.log_level or options.own_log_level,
            secrets=settings.api_keys,
        )
        run: Command = options.run
        return run(options, settings)
    except LivedubError as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_code_for(error)
    except KeyboardInterrupt:
        return 128 + 2


def _let_idle_threads_sleep() -> None:
    """Keep OpenMP's threads (CTranslate2's wheels carry GNU's libgomp) from spinning while they wait for each other.

    On cores that are shared with anything else a spinning thread burns the time that the one it waits for needs:
    Whisper took 4 to 7 s for what takes 0.4 s. libgomp reads this when it is loaded, with the first engine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gpu_handler",
        description="Speech to speech. Every setting is an environment variable STS_*; see .env.example.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--log", choices=("json", "plain"), help="log style on stderr (serve: json, else plain)"
    )
    parser.add_argument(
        "--log-level",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        help="lowest level logged (serve: INFO, else WARNING)",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_runpod(commands)
    _add_serve(commands)
    _add_transcribe(commands)
    _add_speak(commands)
    _add_models(commands)
    return parser


def _command(commands: Any, name: str, run: Command | None, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=EPILOG)
    command.set_defaults(run=run, own_log="plain", own_log_level="WARNING")
    return command


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", choices=("cpu", "gpu", "mock"), help="engine set (STS_PROFILE)")


def _add_runpod(commands: Any) -> None:
    runpod = _command(
        commands,
        "runpod",
        None,
        "Work on RunPod's queue: what happens without a command, too. RunPod's own variables (RUNPOD_WEBHOOK_GET_JOB "
        "and others) say which queue. A worker that cannot work stays and answers every job with the reason.",
    )
    _add_profile(runpod)


def _add_serve(commands: Any) -> None:
    serve = _command(
        commands,
        "serve",
        _serve,
        "Serve the HTTP API. Prints one line when every model is loaded; stops on SIGTERM after the fragments "
        "under way.",
    )
    serve.set_defaults(own_log="json", own_log_level="INFO")
    _add_profile(serve)
    serve.add_argument("--host", dest="api_host", help="address to listen on (STS_API_HOST)")
    serve.add_argument("--port", dest="api_port", type=int, help="port, 0 for a free one (STS_API_PORT)")
    serve.add_argument("--die-with-parent", action="store_true", help="stop when the starting process ends")


def _add_transcribe(commands: Any) -> None:
    transcribe = _command(
        commands,
        "transcribe",
        _transcribe,
        "Print what is said in audio or video files of at most 30 s each, a line per file.",
    )
    _add_profile(transcribe)
    transcribe.add_argument("files", type=Path, metavar="FILE", nargs="+")
    transcribe.add_argument("--language", default="auto", help="ISO 639 code of the speech (default: detect)")
    transcribe.add_argument("--json", action="store_true", help="print text, language and timed segments")


def _add_speak(commands: Any) -> None:
    speak = _command(commands, "speak", _speak, "Say a text with a voice and write it as WAV.")
    _add_profile(speak)
    speak.add_argument("--text")
    speak.add_argument("--voice", default="", help="voice id such as es/ef_dora")
    speak.add_argument(
        "--speed", type=float, default=1.0, help="0.5 to 2; 1 is the voice's own pace (default)"
    )
    speak.add_argument("--out", type=Path, metavar="FILE.wav")
    speak.add_argument(
        "--batch",
        type=Path,
        metavar="FILE.jsonl",
        help='instead: one {"text", "voice", "out"[, "speed"]} a line, all with one load of the model',
    )


def _add_models(commands: Any) -> None:
    models = _command(
        commands,
        "models",
        _models,
        "Show, fetch or check the model weights under STS_MODEL_DIR, or their licences. Without names fetch and verify "
        "mean the models of the profile, list and licences all of them.",
    )
    _add_profile(models)
    models.add_argument("action", choices=("list", "fetch", "verify", "licences"))
    models.add_argument("names", nargs="*", metavar="NAME")
    models.add_argument(
        "--pin", action="store_true", help="fetch: measure models without sha256, into locks/models-hub.json"
    )


def _settings(options: argparse.Namespace) -> StsSettings:
    """Environment, with what the command line gives on top.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    names = ("profile", "api_host", "api_port")
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    try:
        return StsSettings(**given)
    except ValidationError as error:
        raise explain(error, StsSettings) from error


def _work_on_runpod(options: argparse.Namespace) -> ExitCode:
    """The worker reads its settings itself, to tell every job what is wrong with them."""
    keys = [os.environ.get("RUNPOD_AI_API_KEY", ""), *os.environ.get("STS_API_KEY", "").split(",")]
    configure_logging(style=options.log or "json", level=options.log_level or "INFO", secrets=keys)
    from gpu_handler.runpod_worker import run_worker  # noqa: PLC0415 - heavy

    return run_worker(lambda: _settings(options))


def _serve(options: argparse.Namespace, settings: StsSettings) -> ExitCode:
    from gpu_handler.server import StsServer  # noqa: PLC0415
    from livedub.media_cache.consumer_settings import MediaCacheSettings  # noqa: PLC0415
    from livedub.parent_death import die_with_parent  # noqa: PLC0415 - heavy, as what follows

    if options.die_with_parent:
        die_with_parent(signal.SIGTERM)
    return StsServer(settings, media_cache=MediaCacheSettings.load()).run()


def _transcribe(options: argparse.Namespace, settings: StsSettings) -> ExitCode:
    from gpu_handler.engines.base import ASR_SAMPLE_RATE_HZ  # noqa: PLC0415 - heavy
    from gpu_handler.pipeline import Pipeline  # noqa: PLC0415
    from livedub.audio.clip import read_clip  # noqa: PLC0415

    clips = [read_clip(file, ASR_SAMPLE_RATE_HZ, longest_s=_CLIP_LONGEST_S) for file in options.files]
    pipeline = Pipeline.from_settings(settings)
    try:
        pipeline.load()
        for samples in clips:
            heard = asyncio.run(pipeline.transcribe(samples, ASR_SAMPLE_RATE_HZ, options.language))
            if options.json:
                segments = [
                    {"start_ms": s.start_ms, "end_ms": s.end_ms, "text": s.text} for s in heard.segments
                ]
                _say(json.dumps({"text": heard.text, "language": heard.language, "segments": segments}))
            else:
                _say(heard.text)
    finally:
        pipeline.close()
    return ExitCode.DONE


class _Line(BaseModel):
    """One text to speak."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1)
    voice: str = Field(min_length=1)
    out: Path
    speed: float = Field(default=1.0, ge=_SLOWEST, le=_FASTEST)


def _speak(options: argparse.Namespace, settings: StsSettings) -> ExitCode:
    from gpu_handler.pipeline import Pipeline  # noqa: PLC0415 - heavy
    from livedub.audio.clip import write_wav  # noqa: PLC0415

    lines = _lines(options)
    pipeline = Pipeline.from_settings(settings)
    try:
        pipeline.load()
        for line in lines:
            speech = asyncio.run(pipeline.speak(line.text, line.voice, line.speed))
            write_wav(line.out, speech.samples, speech.sample_rate_hz)
            seconds = len(speech.samples) / speech.sample_rate_hz
            _say(f"{line.out}: {seconds:.2f} s at speed {speech.speed:.2f}, {speech.sample_rate_hz} Hz")
    finally:
        pipeline.close()
    return ExitCode.DONE


def _lines(options: argparse.Namespace) -> list[_Line]:
    """What to speak, from the options or from the batch file.

    Raises:
        ConfigurationError: something is missing or out of range.
    """
    if options.batch is None:
        if not (options.text or "").strip():
            raise ConfigurationError("--text is empty.", remedy="Give something to say.")
        if not _SLOWEST <= options.speed <= _FASTEST:
            raise ConfigurationError(
                f"--speed is {options.speed:g}.",
                remedy=f"Give {_SLOWEST:g} to {_FASTEST:g}; 1 is the voice's own pace.",
            )
        if not options.voice or options.out is None:
            raise ConfigurationError("--voice or --out is missing.", remedy="Give both, or --batch.")
        return [_Line(text=options.text, voice=options.voice, out=options.out, speed=options.speed)]
    try:
        text = options.batch.read_text(encoding="utf-8")
        return [_Line.model_validate_json(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"--batch {options.batch} cannot be used: {error}", remedy="Write one JSON object a line."
        ) from error


def _models(options: argparse.Namespace, settings: StsSettings) -> ExitCode:
    from gpu_handler.model_commands import run_models_command  # noqa: PLC0415 - its hashing is not free

    run_models_command(options.action, options.names, settings, pin=options.pin, say=_say)
    return ExitCode.DONE


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
