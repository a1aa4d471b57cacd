"""Writes test_input.json and the input of .runpod/tests.json: one small, valid STS request with a spoken word.

Run it as `.venv/bin/python setup/make_test_input.py`. The word is spoken by espeak-ng, so nobody's voice is in the
repository; 8 kHz and coarse samples keep the FLAC small.
"""
# ruff: noqa: INP001 - a script, in no package

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from livedub.audio.clip import read_clip
from livedub.audio.codec import encode_audio
from livedub.sts.contract import AudioFormat, StsConfig, StsRequest, Target

ROOT = Path(__file__).resolve().parents[1]
_PADDING = 1
TEXT = "Buenos días."
RATE_HZ = 8_000
STEP = 256 / 32_768
"""Samples are rounded to whole steps: FLAC then stores half the bits."""


def request() -> StsRequest:
    """The request, with the word spoken anew."""
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        subprocess.run(
            ["espeak-ng", "-v", "es", "-s", "190", "-w", str(spoken), TEXT], check=True, timeout=30
        )
        samples = read_clip(spoken, RATE_HZ, longest_s=5)
    loud = np.nonzero(np.abs(samples) > STEP)[0]
    samples = np.round(samples[loud[0] : loud[-1] + 1] / STEP) * STEP
    audio = encode_audio(samples.astype(np.float32), RATE_HZ, AudioFormat.FLAC)
    small = base64.b64encode(without_padding(base64.b64decode(audio.data_base64))).decode()
    return StsRequest(
        fragment_id="test/0/0",
        stream_id="test",
        generation=0,
        sequence_number=0,
        deadline_ms=60_000,
        audio=audio.model_copy(update={"data_base64": small}),
        config=StsConfig(source_language="es", targets=(Target(language="en"),)),
    )


def without_padding(flac: bytes) -> bytes:
    """The same file less the room that its writer left for tags (RFC 9639, metadata block type 1)."""
    kept, position, last = [], 4, False
    while not last:
        head = flac[position]
        last, kind = bool(head & 0x80), head & 0x7F
        end = position + 4 + int.from_bytes(flac[position + 1 : position + 4], "big")
        if kind != _PADDING:
            kept.append(bytes([kind]) + flac[position + 1 : end])
        position = end
    kept[-1] = bytes([kept[-1][0] | 0x80]) + kept[-1][1:]
    return flac[:4] + b"".join(kept) + flac[position:]


def main() -> None:
    """Write both files."""
    wire = json.loads(request().model_dump_json(exclude_defaults=True))
    wire["schema_version"] = 1
    (ROOT / "test_input.json").write_text(json.dumps({"input": wire}, indent=2) + "\n")
    path = ROOT / ".runpod" / "tests.json"
    tests = json.loads(path.read_text())
    for test in tests["tests"]:
        test["input"] = wire
    path.write_text(json.dumps(tests, indent=2) + "\n")


if __name__ == "__main__":
    main()
