from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "STS_", "TTS_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "media_edge.worker", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
        env={**clean, **environment},
    )


COMPLETE = {
    "WORKER_STREAM_ID": "stadium",
    "WORKER_INPUT_URL": "rtmp://127.0.0.1/live/stadium/in",
    "WORKER_OUTPUT_URL": "rtmp://127.0.0.1/live/stadium/out?token=s3cret",
}


def test_help_lists_commands_variables_and_exit_codes():
    shown = run("--help")
    assert shown.returncode == 0
    for text in (
        "run",
        "forward",
        "check-config",
        "WORKER_DELAY_MS",
        "8000",
        "3  no_input",
        "40 destination failed",
    ):
        assert text in shown.stdout


def test_settings_can_be_checked_without_starting_anything():
    checked = run("check-config", **COMPLETE)
    assert checked.returncode == 0
    assert "fragments of 1000 to 4600 ms" in checked.stdout
    assert "s3cret" not in checked.stdout


def test_the_media_cache_is_named_and_its_secrets_are_not():
    secret = "-".join(["hush"] * 2)
    checked = run(
        "check-config",
        **COMPLETE,
        TTS_MEDIA_CACHE_BASE_URL="https://10.0.0.7:8443",
        TTS_MEDIA_CACHE_UPLOAD_TOKEN=secret,
    )
    assert checked.returncode == 0
    assert "media cache https://10.0.0.7:8443" in checked.stdout
    assert "hush" not in checked.stdout
    refused = run("run", **COMPLETE, TTS_MEDIA_CACHE_BASE_URL="http://10.0.0.7")
    assert refused.returncode == 2
    assert "TTS_MEDIA_CACHE_BASE_URL" in refused.stderr


def test_a_wrong_setting_ends_with_its_code_and_one_line():
    for command, code in (("run", 2), ("check-config", 2), ("forward", 10)):
        ended = run(command, **{**COMPLETE, "WORKER_INPUT_URL": "http://127.0.0.1/x"})
        assert ended.returncode == code
        assert ended.stderr.count("\n") == 1
        assert "WORKER_INPUT_URL" in ended.stderr


def test_forwarding_to_nowhere_is_a_configuration_error():
    ended = run("forward", **COMPLETE)
    assert ended.returncode == 10
    assert "WORKER_FORWARD_URL" in ended.stderr


def test_checking_settings_loads_neither_gstreamer_nor_models():
    code = (
        "import sys\nfrom media_edge.worker.__main__ import main\n"
        "sys.argv = ['x', 'check-config']\nmain()\n"
        "heavy = {'gi', 'numpy', 'onnxruntime', 'av'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **COMPLETE},
        timeout=30,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
