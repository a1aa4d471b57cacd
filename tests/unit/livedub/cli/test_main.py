import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from livedub import __version__
from livedub.cli import checkout, demo, main, up
from livedub.cli.dub import dub_config
from livedub.errors import InvalidInputError, MissingPrerequisiteError
from local.__main__ import parser

COMMANDS = {"demo", "up", "dub", "verify", "sts", "streams"}
HEAVY = {"numpy", "av", "scipy", "httpx", "pydantic", "onnxruntime", "rich.live", "rich.progress"}

runner = CliRunner()


def test_help_names_every_command_and_the_version_is_the_packages():
    shown = runner.invoke(main.app, ["--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert all(f" {name} " in shown.stdout for name in COMMANDS)
    assert runner.invoke(main.app, ["--version"]).stdout.strip() == f"livedub {__version__}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str):
    shown = runner.invoke(main.app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.stdout


def test_help_comes_at_once():
    code = (
        "import json,sys\n"
        "from livedub.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print(json.dumps([m for m in {sorted(HEAVY)!r} if m in sys.modules]))"
    )
    took_s: list[float] = []
    while (
        len(took_s) < 3 and min(took_s, default=1.0) >= 0.5
    ):  # the first has, on a new checkout, all to compile
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert json.loads(done.stdout.splitlines()[-1]) == []
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took_s) < 0.5, "CPU time, because a busy machine stretches the wall's"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What would have been started: (command, arguments)."""
    calls: list[tuple[str, list[str]]] = []
    for module in (demo, up):
        monkeypatch.setattr(
            module, "run_local", lambda command, arguments: calls.append((command, arguments))
        )
    monkeypatch.delenv("STS_SERVICE_URL", raising=False)
    return calls


def taken(started: list[tuple[str, list[str]]], *given: str) -> dict[str, Any]:
    """What the local stack makes of a `livedub` command line."""
    result = runner.invoke(main.app, list(given))
    assert result.exit_code == 0, result.output
    command, arguments = started[-1]
    return vars(parser().parse_args([command, *arguments]))


@pytest.mark.parametrize("command", ["demo", "up"])
def test_defaults_are_the_local_stacks_own(started: list[tuple[str, list[str]]], command: str):
    assert taken(started, command) == vars(parser().parse_args([command]))


def test_every_option_of_demo_arrives(started: list[tuple[str, list[str]]]):
    given = "--seconds 20 --input a.mkv --source pt --target fr --voice fr/ff_siwis --delay-ms 6000 --out x --no-page "
    given += "--profile mock --sts runpod --sts-url http://127.0.0.1:8000 --server nginx-rtmp --media-cache --on http://localhost:5601"
    assert taken(started, "demo", *given.split()) == {
        "command": "demo",
        "seconds": 20,
        "input": Path("a.mkv"),
        "source": "pt",
        "target": "fr",
        "voice": "fr/ff_siwis",
        "delay_ms": 6000,
        "out": Path("x"),
        "page": False,
        "profile": "mock",
        "sts": "runpod",
        "sts_url": "http://127.0.0.1:8000",
        "media_cache": True,
        "server": "nginx-rtmp",
        "on": "http://localhost:5601",
    }


def test_every_option_of_up_arrives(started: list[tuple[str, list[str]]]):
    given = "--stream-id gala --bind 192.0.2.1 --rtmp-port 0 --http-port 9000 --out y"
    given += " --no-library --library-port 0 --objects-port 9100 --s3-url http://minio:9000"
    values = taken(started, "up", *given.split())
    expected = {
        "stream_id": "gala",
        "bind": "192.0.2.1",
        "rtmp_port": 0,
        "http_port": 9000,
        "out": Path("y"),
        "library": False,
        "library_port": 0,
        "objects_port": 9100,
        "s3_url": "http://minio:9000",
    }
    assert {name: values[name] for name in expected} == expected


def test_a_deliberate_error_is_one_line_and_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise InvalidInputError("clip.mp4 has no audio track.", remedy="Give one in which somebody speaks.")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "livedub: clip.mp4 has no audio track.",
        "Give one in which somebody speaks.",
    ]


def test_outside_a_checkout_the_remedy_is_to_clone(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="Clone the repository"):
        checkout.run_local("demo", [], root=tmp_path)


def test_the_checkouts_own_code_is_started_wherever_the_user_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    class ReplacedError(Exception):
        pass

    def execve(path: str, argv: list[str], environment: dict[str, str]) -> None:
        assert path == sys.executable
        assert argv == [sys.executable, "-m", "local", "up", "--bind=::1"]
        root = environment["PYTHONPATH"].split(os.pathsep)[0]
        assert (Path(root) / "local" / "__main__.py").is_file()
        assert environment["PYTHONSAFEPATH"] == "1"
        raise ReplacedError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(ReplacedError):
        checkout.run_local("up", ["--bind=::1"])


def test_a_voice_of_no_language_to_dub_into_is_refused():
    config = dub_config("es", ["en", "fr"], ["fr/siwis"], separate=False)
    assert (config.target_language, config.voice) == ("en", "")
    assert [(target.language, target.voice) for target in config.more_targets] == [("fr", "fr/siwis")]
    with pytest.raises(InvalidInputError, match="de/anna"):
        dub_config("es", ["en", "fr"], ["de/anna"], separate=False)
