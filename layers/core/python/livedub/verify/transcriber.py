"""Speech recognition for the verifier: the STS engines as a process, all pieces with one load of the model."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livedub.audio.clip import write_wav
from livedub.audio.pcm import STS_RATE_HZ, Samples
from livedub.errors import LivedubError, MissingPrerequisiteError

_TIMEOUT_S = 900


def transcribe_with_engines(language: str, pieces: Sequence[Samples]) -> list[str]:
    """Text of each piece (mono, 16 kHz, at most 30 s), by `python -m gpu_handler transcribe`.

    Raises:
        MissingPrerequisiteError: the models are not there; carries what the process said.
        LivedubError: it took too long or answered something else than a line per piece.
    """
    with tempfile.TemporaryDirectory(prefix="livedub-hear-") as folder:
        files = [Path(folder) / f"{number:04d}.wav" for number in range(len(pieces))]
        for file, piece in zip(files, pieces, strict=True):
            write_wav(file, piece, STS_RATE_HZ)
        command = [sys.executable, "-m", "gpu_handler", "transcribe", "--language", language, "--json"]
        answer = _run([*command, *(str(file) for file in files)])
    lines = [line for line in answer.splitlines() if line.startswith("{")]
    if len(lines) != len(pieces):
        raise LivedubError(f"the recogniser answered {len(lines)} lines for {len(pieces)} files.")
    return [_text(line) for line in lines]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LivedubError(f"the recogniser took longer than {_TIMEOUT_S} s.") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise MissingPrerequisiteError(
            f"the recogniser failed: {said[-1] if said else 'it said nothing'}", remedy="Run `make setup`."
        )
    return done.stdout


def _text(line: str) -> str:
    answer: dict[str, Any] = json.loads(line)
    return str(answer.get("text", ""))
