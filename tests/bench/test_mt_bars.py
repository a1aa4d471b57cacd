"""The translation stage's bar; the figures go to build/bench/mt.json."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = REPOSITORY / ".venv-torch/bin/python"
RESULT_PATH = REPOSITORY / "build/bench/mt.json"
TIMES_FASTER_BAR = 2.5


def test_translating_is_two_and_a_half_times_as_fast_as_plain_transformers():
    if not PYTHON.exists():
        pytest.skip("needs torch and transformers: run setup/torch_environment.sh")
    done = subprocess.run(
        [str(PYTHON), "tests/bench/bench_mt.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
        env={**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    figures = json.loads(done.stdout)
    RESULT_PATH.parent.mkdir(parents=True, exist_ok=True)
    RESULT_PATH.write_text(json.dumps(figures, indent=2) + "\n")
    assert 70e6 < figures["parameters"] < 90e6
    slow = [case for case in figures["cases"] if case["times_faster"] < TIMES_FASTER_BAR]
    assert not slow
