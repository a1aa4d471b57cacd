"""The CTranslate2 engine without torch, on a model built from random numbers; tests/torch has it against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_handler.engines.base import Sentence
from gpu_handler.engines.ctranslate import CTranslateTranslator
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError
from tests.unit.gpu_handler.engines.random_transformer import CORPUS, build_marian


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_marian(folder / "opus-mt-en-es", 1)
    build_marian(folder / "opus-mt-en-fr", 2)
    return folder


def engine_in(home: Path, **changes: Any) -> CTranslateTranslator:
    engine = CTranslateTranslator(StsSettings(mt_model_dir=home, cpu_threads=1, **changes))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def engine(home: Path) -> CTranslateTranslator:
    return engine_in(home)


def test_pairs_are_the_folders(engine: CTranslateTranslator):
    assert engine.pairs() == {("en", "es"), ("en", "fr")}
    assert engine.shortens
    assert engine.info.max_batch == 16
    assert "opus-mt-en-fr" in engine.info.model


def test_a_batch_of_pairs_and_brevities_answers_in_order(engine: CTranslateTranslator):
    asked = [
        Sentence(text, "en", target, brevity=brevity)
        for text in (*CORPUS, "")
        for target in ("es", "fr")
        for brevity in (0, 1)
    ]
    together = engine.translate(asked)
    assert len(together) == len(asked)
    assert len({said.text for said in together}) > 6
    for sentence, said in zip(asked, together, strict=True):
        alone = engine.translate([sentence])[0]
        # where the length limit ends it, the batch's longest sentence sets that
        assert (said.text[:5] == alone.text[:5]) or not sentence.brevity
        assert bool(said.text) == bool(sentence.text)


def test_a_beam_gives_alternatives(home: Path):
    (said,) = engine_in(home, mt_beam_size=4).translate([Sentence(CORPUS[0], "en", "es")])
    wordings = [said.text, *said.alternatives]
    assert 1 < len(set(wordings)) == len(wordings) <= 4
    (greedy,) = engine_in(home, mt_beam_size=1).translate([Sentence(CORPUS[0], "en", "es")])
    assert not greedy.alternatives


def test_the_end_of_a_sentence_is_not_spoken(engine: CTranslateTranslator):
    for said in engine.translate([Sentence(text, "en", "es") for text in CORPUS]):
        assert not any("</s>" in text or "⁇" in text for text in (said.text, *said.alternatives))


def test_a_model_that_must_be_converted_names_what_converts_it(tmp_path: Path):
    pytest.importorskip("sentencepiece")
    folder = tmp_path / "opus-mt-en-es"
    folder.mkdir()
    for name in ("source.spm", "target.spm", "pytorch_model.bin"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(MissingPrerequisiteError, match=r"setup/torch_environment\.sh|failed"):
        engine_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["opus-mt-en-es"]


def test_a_device_that_is_not_there_is_named(home: Path):
    with pytest.raises(MissingPrerequisiteError, match="STS_MT_DEVICE"):
        engine_in(home, mt_device="cuda")


def test_a_missing_tokenizer_is_named(home: Path, tmp_path: Path):
    build_marian(tmp_path / "opus-mt-en-es")
    (tmp_path / "opus-mt-en-es" / "target.spm").unlink()
    with pytest.raises(MissingPrerequisiteError, match=r"target\.spm"):
        engine_in(tmp_path)
