"""What the registry says of Coqui's voices is what the coqui-tts that is installed says."""

from gpu_handler.coqui_archive import catalogue_entry
from gpu_handler.model_registry import REGISTRY_PATH, ModelRegistry


def test_licences_are_those_of_coquis_own_catalogue():
    models = ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes()).models
    voices = {name: model for name, model in models.items() if model.coqui}
    assert voices
    for name, model in voices.items():
        theirs = str(catalogue_entry(model.coqui)["license"])
        assert model.licence.lower().replace("-", " ") == theirs.lower().replace("-", " "), name


def test_every_voice_is_one_zip_file():
    models = ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes()).models
    for model in models.values():
        if model.coqui:
            assert str(catalogue_entry(model.coqui)["github_rls_url"]).startswith("https://")


def test_xtts_asks_for_coquis_terms():
    entry = catalogue_entry("tts_models/multilingual/multi-dataset/xtts_v2")
    assert entry["license"] == "CPML"
    assert entry["tos_required"] is True
