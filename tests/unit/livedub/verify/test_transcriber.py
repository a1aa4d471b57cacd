"""The recogniser as a process: one text per piece, its failure an error with its own words."""

from pathlib import Path

import numpy as np
import pytest

from livedub.errors import MissingPrerequisiteError
from livedub.verify.transcriber import transcribe_with_engines

PIECE = (0.1 * np.sin(np.arange(16_000) / 5)).astype(np.float32)


def test_every_piece_gets_a_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_PROFILE", "mock")

    texts = transcribe_with_engines("en", [PIECE, PIECE, np.concatenate((PIECE, PIECE))])

    assert len(texts) == 3
    assert texts[0] == texts[1]


def test_what_the_recogniser_lacks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("STS_PROFILE", "cpu")
    monkeypatch.setenv("STS_MODEL_DIR", str(tmp_path))

    with pytest.raises(MissingPrerequisiteError, match="recogniser failed"):
        transcribe_with_engines("en", [PIECE])
