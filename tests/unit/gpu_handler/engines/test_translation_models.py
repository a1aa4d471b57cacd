import json
from pathlib import Path

import pytest

from gpu_handler.engines import licences
from gpu_handler.engines.licences import Licence, permit
from gpu_handler.engines.translation_models import (
    NLLB_LANGUAGES,
    Family,
    family_of,
    language_tokens,
    marian_models,
    multilingual_model,
    special_tokens,
    vocabulary,
    wanted_pairs,
)
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError


def marian(home: Path, *names: str) -> None:
    for name in names:
        (home / name).mkdir()
        for file in ("source.spm", "target.spm"):
            (home / name / file).touch()


def settings(home: Path, **changes: str) -> StsSettings:
    return StsSettings.model_validate({"mt_model_dir": home, **changes})


def test_pairs_are_read_from_folder_names(tmp_path: Path):
    marian(
        tmp_path,
        "opus-mt-en-es",
        "opus-mt-tc-big-en-es",
        "opus-mt-tc-big-es-en",
        "opus-mt-en-ROMANCE",
        "opus-mt-x",
    )
    marian(tmp_path, "opus-mt-en-es.ct2-int8")
    found = marian_models(settings(tmp_path))
    assert {pair: model.name for pair, model in found.items()} == {
        ("en", "es"): "opus-mt-en-es",
        ("es", "en"): "opus-mt-tc-big-es-en",
    }


def test_wanted_pairs_alone_count(tmp_path: Path):
    marian(tmp_path, "opus-mt-en-es", "opus-mt-es-en")
    assert set(marian_models(settings(tmp_path, mt_pairs=" es-en ,"))) == {("es", "en")}
    with pytest.raises(MissingPrerequisiteError, match="livedub models fetch opus-mt-de-en"):
        marian_models(settings(tmp_path, mt_pairs="de-en"))


@pytest.mark.parametrize("text", ["es", "es-en-fr", "ES-EN", "es>en"])
def test_a_pair_that_is_none_is_named(text: str):
    with pytest.raises(ConfigurationError, match="STS_MT_PAIRS"):
        wanted_pairs(StsSettings(mt_pairs=text))


def test_an_empty_folder_names_the_command(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="livedub models fetch"):
        marian_models(settings(tmp_path))
    with pytest.raises(MissingPrerequisiteError, match="livedub models fetch m2m100-418m"):
        multilingual_model(settings(tmp_path), "m2m100-418m")


@pytest.mark.parametrize(
    ("files", "family"),
    [
        ({"source.spm": "", "target.spm": ""}, Family.MARIAN),
        ({"config.json": '{"model_type": "m2m_100"}'}, Family.M2M100),
        (
            {
                "config.json": '{"model_type": "m2m_100"}',
                "tokenizer_config.json": '{"tokenizer_class": "NllbTokenizer"}',
            },
            Family.NLLB,
        ),
        ({"shared_vocabulary.json": '["<s>", "__en__"]'}, Family.M2M100),
        ({"shared_vocabulary.json": '["<s>", "eng_Latn"]'}, Family.NLLB),
        ({"shared_vocabulary.txt": "<s>\n__en__\n"}, Family.M2M100),
    ],
)
def test_a_family_shows_in_its_files(tmp_path: Path, files: dict[str, str], family: Family):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert family_of(tmp_path) is family


def test_another_model_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ConfigurationError, match="neither"):
        family_of(tmp_path)
    assert vocabulary(tmp_path) == []


def test_languages_are_known_by_their_tokens():
    assert language_tokens(Family.M2M100, ["▁a", "__en__", "__ceb__", "madeupword0000"]) == {
        "en": "__en__",
        "ceb": "__ceb__",
    }
    assert language_tokens(Family.NLLB, ["eng_Latn", "spa_Latn", "luo_Latn"]) == {
        "en": "eng_Latn",
        "es": "spa_Latn",
    }


def test_every_nllb_code_names_a_language_and_a_script():
    assert all(code[3] == "_" and code[4].isupper() and len(code) == 8 for code in NLLB_LANGUAGES.values())
    assert len(set(NLLB_LANGUAGES.values())) == len(NLLB_LANGUAGES)


def test_tokens_that_are_no_text():
    tokens = ["</s>", "__en__", "spa_Latn", "madeupword0001", "▁house", "a_b", "<unk>"]
    assert special_tokens(tokens) == {"</s>", "__en__", "spa_Latn", "madeupword0001", "<unk>"}


def test_a_non_commercial_licence_asks_for_leave():
    with pytest.raises(ConfigurationError, match="STS_ALLOW_NONCOMMERCIAL"):
        permit("nllb", licences.NLLB, StsSettings())
    permit("nllb", licences.NLLB, StsSettings(allow_noncommercial=True))
    permit("m2m100", licences.M2M100, StsSettings())


def test_a_name_does_not_free_a_family_that_is_not_free():
    assert licences.licence_of("m2m100-418m", licences.NLLB) == licences.NLLB
    assert licences.licence_of("m2m100-418m", licences.UNKNOWN).name == "MIT"
    assert licences.licence_of("my-own", Licence("X")) == Licence("X")


def test_several_models_are_as_free_as_the_least_free():
    assert licences.of_all([Licence("A"), Licence("B"), Licence("A")]) == Licence("A, B")
    assert licences.of_all([Licence("A"), Licence("B", commercial_use=False)]) == Licence(
        "A, B", commercial_use=False
    )


def test_registry_and_families_agree_on_commercial_use():
    registry = json.loads((Path(licences.__file__).parents[1] / "models.json").read_text())["models"]
    assert not registry["nllb-200-distilled-600m"]["commercial_use"]
    assert not registry["xtts-v2"]["commercial_use"]
    assert registry["m2m100-418m"]["commercial_use"]
