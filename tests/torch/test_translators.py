"""Translators on tiny models that know a few sentences by heart, by transformers and by CTranslate2."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, M2M100Config, M2M100ForConditionalGeneration

from gpu_handler import models
from gpu_handler.engines.base import Sentence, Translation, Translator
from gpu_handler.engines.convert import convert, converted
from gpu_handler.engines.ctranslate import CTranslateTranslator
from gpu_handler.engines.m2m100 import M2M100Translator, NllbTranslator
from gpu_handler.engines.marian import MarianTranslator
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from tests.torch import tiny_models as tiny

M2M100 = "m2m100-418m"
NLLB = "nllb-200-distilled-600m"

BOTH_WAYS = [
    Sentence(text, source, target)
    for source, target in (("en", "es"), ("es", "en"))
    for text in tiny.TEXTS[source]
]
EXPECTED = [*tiny.TEXTS["es"], *tiny.TEXTS["en"]]


def changed(settings: StsSettings, **changes: Any) -> StsSettings:
    return settings.model_copy(update=changes)


def loaded(engine: Any) -> Any:
    engine.load()
    return engine


def texts(translations: list[Translation]) -> list[str]:
    return [translation.text for translation in translations]


@pytest.fixture(scope="module")
def marian(settings: StsSettings) -> MarianTranslator:
    return loaded(MarianTranslator(settings))


@pytest.fixture(scope="module")
def marian_by_ctranslate(settings: StsSettings) -> CTranslateTranslator:
    return loaded(CTranslateTranslator(settings))


def both(settings: StsSettings, model: str, engine: Any) -> tuple[Translator, Translator]:
    chosen = changed(settings, mt_model=model, allow_noncommercial=True)
    return loaded(engine(chosen)), loaded(CTranslateTranslator(chosen))


@pytest.mark.parametrize("beam", [1, 4])
def test_marian_says_the_same_by_either_library(settings: StsSettings, beam: int):
    chosen = changed(settings, mt_beam_size=beam)
    for engine in (MarianTranslator, CTranslateTranslator):
        assert texts(loaded(engine(chosen)).translate(BOTH_WAYS)) == EXPECTED


@pytest.mark.parametrize(("model", "engine"), [(M2M100, M2M100Translator), (NLLB, NllbTranslator)])
def test_a_multilingual_model_hears_which_languages_are_meant(settings: StsSettings, model: str, engine: Any):
    mixed = [
        Sentence(text, source, target)
        for index in range(4)
        for source, target in tiny.MULTILINGUAL_PAIRS
        for text in [tiny.TEXTS[source][index]]
    ]
    expected = [tiny.TEXTS[target][index] for index in range(4) for _, target in tiny.MULTILINGUAL_PAIRS]
    for translator in both(settings, model, engine):
        assert texts(translator.translate(mixed)) == expected
        assert {("en", "es"), ("es", "de"), ("fr", "en")} <= translator.pairs()
        assert ("es", "es") not in translator.pairs()


def test_no_piece_of_the_model_s_machinery_is_spoken(settings: StsSettings):
    for model, engine in ((M2M100, M2M100Translator), (NLLB, NllbTranslator)):
        for translator in both(settings, model, engine):
            # sentences that it does not know, from a language that it was not taught
            for translation in translator.translate([Sentence(t, "fr", "de") for t in tiny.TEXTS["fr"]]):
                for text in (translation.text, *translation.alternatives):
                    assert not any(mark in text for mark in ("__", "_Latn", "</s>", "<", "⁇", "madeup")), text


@pytest.mark.parametrize("kind", [MarianTranslator, CTranslateTranslator])
def test_a_batch_answers_in_its_own_order(settings: StsSettings, kind: Any):
    engine = loaded(kind(changed(settings, mt_beam_size=1)))
    order = (0, 4, 1, 5, 2, 6)
    assert texts(engine.translate([BOTH_WAYS[index] for index in order])) == [
        EXPECTED[index] for index in order
    ]
    for index in order:
        assert texts(engine.translate([BOTH_WAYS[index]])) == [EXPECTED[index]]


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_nothing_translates_to_nothing(
    marian: MarianTranslator, marian_by_ctranslate: CTranslateTranslator, text: str
):
    for engine in (marian, marian_by_ctranslate):
        said = engine.translate([Sentence(text, "en", "es"), BOTH_WAYS[0]])
        assert said[0].text == ""
        assert said[1].text


def test_a_text_beyond_the_model_s_positions_is_cut_not_fatal(
    marian: MarianTranslator, marian_by_ctranslate: CTranslateTranslator
):
    endless = Sentence(" ".join(tiny.TEXTS["en"] * 12), "en", "es")
    for engine in (marian, marian_by_ctranslate):
        assert engine.translate([endless])[0].text


def test_each_step_of_brevity_says_it_in_fewer_or_as_many_characters(
    marian_by_ctranslate: CTranslateTranslator,
):
    for sentence in BOTH_WAYS:
        lengths = [
            len(
                marian_by_ctranslate.translate(
                    [Sentence(sentence.text, sentence.source, sentence.target, brevity=brevity)]
                )[0].text
            )
            for brevity in (1, 2, 3)
        ]
        assert lengths == sorted(lengths, reverse=True)


def test_alternatives_differ_from_the_translation_and_from_each_other(
    marian_by_ctranslate: CTranslateTranslator,
):
    for translation in marian_by_ctranslate.translate(BOTH_WAYS):
        wordings = [translation.text, *translation.alternatives]
        assert len(wordings) == len(set(wordings))
        assert len(wordings) > 1


def test_an_unknown_pair_is_a_key_error(marian: MarianTranslator, marian_by_ctranslate: CTranslateTranslator):
    for engine in (marian, marian_by_ctranslate):
        assert engine.pairs() == {("en", "es"), ("es", "en")}
        with pytest.raises(KeyError):
            engine.translate([Sentence("hola", "es", "fr")])


def test_wanted_pairs_alone_are_loaded(settings: StsSettings):
    assert loaded(CTranslateTranslator(changed(settings, mt_pairs="es-en"))).pairs() == {("es", "en")}


@pytest.mark.parametrize("engine", [NllbTranslator, CTranslateTranslator])
def test_nllb_needs_leave(settings: StsSettings, engine: Any):
    with pytest.raises(ConfigurationError, match=r"CC-BY-NC.*STS_ALLOW_NONCOMMERCIAL"):
        engine(changed(settings, mt_model=NLLB)).load()


def test_a_renamed_nllb_is_still_nllb(settings: StsSettings, models_home: Path, tmp_path: Path):
    for source in (models_home / NLLB, models_home / f"{NLLB}.ct2-float32"):
        shutil.copytree(source, tmp_path / source.name / M2M100)
        with pytest.raises(ConfigurationError, match="CC-BY-NC"):
            CTranslateTranslator(
                changed(settings, mt_model=M2M100, mt_model_dir=tmp_path / source.name)
            ).load()


def test_a_model_of_another_family_is_refused(settings: StsSettings):
    with pytest.raises(ConfigurationError, match="nllb"):
        M2M100Translator(changed(settings, mt_model=NLLB, allow_noncommercial=True)).load()


def test_engines_name_model_licence_and_batch(marian: MarianTranslator, settings: StsSettings):
    info = marian.info
    assert (info.name, info.max_batch) == ("marian", settings.mt_max_batch)
    assert info.licence == models.registry().model("opus-mt-en-es").licence
    assert "opus-mt-en-es" in info.model
    fast = loaded(CTranslateTranslator(changed(settings, mt_model=NLLB, allow_noncommercial=True))).info
    assert not fast.commercial_use


def test_a_closed_engine_can_be_closed_again(settings: StsSettings):
    for engine in (MarianTranslator(settings), CTranslateTranslator(settings)):
        engine.load()
        engine.close()
        engine.close()
        assert not engine.pairs()


def test_an_engine_converts_what_it_needs_in_a_process_of_its_own(
    settings: StsSettings, models_home: Path, tmp_path: Path
):
    shutil.copytree(models_home / "opus-mt-en-es", tmp_path / "opus-mt-en-es")
    chosen = changed(settings, mt_model_dir=tmp_path, mt_compute_type="int8")
    engine = loaded(CTranslateTranslator(chosen))
    assert texts(engine.translate(BOTH_WAYS[:4])) == EXPECTED[:4]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "opus-mt-en-es",
        "opus-mt-en-es.ct2-int8",
    ]


def test_a_conversion_is_kept_until_its_source_changes(models_home: Path, tmp_path: Path):
    source, target = tmp_path / "opus-mt-en-es", tmp_path / "opus-mt-en-es.ct2-float32"
    shutil.copytree(models_home / source.name, source)
    convert(source, target, "float32")
    first = (target / "model.bin").stat().st_mtime_ns
    assert converted(source, "float32") == target
    assert (target / "model.bin").stat().st_mtime_ns == first
    (source / "config.json").touch()
    leftover = tmp_path / f".converting-{target.name}-killed"
    leftover.mkdir()
    convert(source, target, "float32")
    assert (target / "model.bin").stat().st_mtime_ns > first
    assert not leftover.exists()


def test_a_damaged_model_is_named(settings: StsSettings, models_home: Path, tmp_path: Path):
    shutil.copytree(models_home / "opus-mt-en-es.ct2-float32", tmp_path / "opus-mt-en-es")
    (tmp_path / "opus-mt-en-es" / "model.bin").write_bytes(b"not a model")
    with pytest.raises(MissingPrerequisiteError, match="opus-mt-en-es"):
        CTranslateTranslator(changed(settings, mt_model_dir=tmp_path)).load()


def test_m2m100_language_ids_lie_beyond_the_length_of_its_tokenizer(models_home: Path):
    """A vocabulary of `len(tokenizer)` words, as for any other model, has no room for them."""
    tokenizer = AutoTokenizer.from_pretrained(str(models_home / M2M100), local_files_only=True)
    size = tiny.m2m100_vocabulary_size(tokenizer)
    assert max(tokenizer.lang_token_to_id.values()) < size
    encoded = tokenizer("hola", return_tensors="pt")
    zulu = torch.tensor([[tokenizer.get_lang_id("zu")]])
    plain = len(tokenizer.encoder)
    shape = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    small = M2M100ForConditionalGeneration(M2M100Config(vocab_size=plain, **shape, **heads))
    with pytest.raises(IndexError):
        small(input_ids=encoded["input_ids"], decoder_input_ids=zulu)
    large = M2M100ForConditionalGeneration(M2M100Config(vocab_size=size, **shape, **heads))
    assert large(input_ids=encoded["input_ids"], decoder_input_ids=zulu).logits.shape[-1] == size
